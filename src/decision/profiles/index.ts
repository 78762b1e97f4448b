/**
 * The profiles that ship. Each is a function of the workflow, because workflows live in the execution layer; and each
 * can be printed as the YAML a user would write, to copy and change.
 */
import { Document, isCollection, visit } from 'yaml'
import { profileToConfig } from '../from-config.js'
import type { AnyExecuteSpec } from '../plugin.js'
import type { Profile } from '../profile.js'
import { affinityGate } from './affinity-gate.js'
import { aibrixPrefixCache } from './aibrix-prefix-cache.js'
import { cacheAware } from './cache-aware.js'
import { chwbl } from './chwbl.js'
import { consistentHash } from './consistent-hash.js'
import { decode } from './decode.js'
import { dualmap } from './dualmap.js'
import { dynamo } from './dynamo.js'
import { leastRequest } from './least-request.js'
import { llmD } from './llm-d.js'
import { lmetric } from './lmetric.js'
import { powerOfTwo } from './power-of-two.js'
import { prefill } from './prefill.js'
import { prefixHash } from './prefix-hash.js'
import { random } from './random.js'
import { roundRobin } from './round-robin.js'
import { sessionSticky } from './session-sticky.js'
import { sglangCacheAware } from './sglang-cache-aware.js'
import { smetric } from './smetric.js'
import { vllmConsistentHash } from './vllm-consistent-hash.js'

export {
  affinityGate,
  aibrixPrefixCache,
  cacheAware,
  chwbl,
  consistentHash,
  decode,
  dualmap,
  dynamo,
  leastRequest,
  llmD,
  lmetric,
  powerOfTwo,
  prefill,
  prefixHash,
  random,
  roundRobin,
  sessionSticky,
  sglangCacheAware,
  smetric,
  vllmConsistentHash,
}

/** All shipped profiles, with one workflow; the embedded default is 'single'. */
export function shippedProfiles(workflow: AnyExecuteSpec): readonly Profile[] {
  return [
    random,
    roundRobin,
    leastRequest,
    powerOfTwo,
    cacheAware,
    sessionSticky,
    consistentHash,
    chwbl,
    prefixHash,
    vllmConsistentHash,
    sglangCacheAware,
    aibrixPrefixCache,
    llmD,
    affinityGate,
    dynamo,
    lmetric,
    smetric,
    dualmap,
  ].map(make => make(workflow))
}

/** Profiles for steps of workflows, by the names under which those look for them unless told otherwise. */
export function stepProfiles(workflow: AnyExecuteSpec): readonly Profile[] {
  return [prefill, decode].map(make => make(workflow))
}

/** A profile as it stands in YAML under `profiles:`, one line a stage. */
export function profileYaml(profile: Profile): string {
  const document = new Document({ [profile.name]: profileToConfig(profile) })
  visit(document, {
    // Depth 0 is the document, 1 the map of names, 3 the map of stages: what is below those stays on one line.
    Collection: (_, node, path) => {
      if (isCollection(node) && path.length > 3) node.flow = true
    },
  })
  return document.toString({ lineWidth: 0, flowCollectionPadding: true })
}
