/**
 * The profiles that ship. Each is a function of the workflow, because workflows live in the execution layer; and each
 * can be printed as the YAML a user would write, to copy and change.
 */
import { Document, isCollection, visit } from 'yaml'
import { profileToConfig } from '../from-config.js'
import type { AnyExecuteSpec } from '../plugin.js'
import type { Profile } from '../profile.js'
import { cacheAware } from './cache-aware.js'
import { consistentHash } from './consistent-hash.js'
import { leastRequest } from './least-request.js'
import { random } from './random.js'
import { roundRobin } from './round-robin.js'
import { sessionSticky } from './session-sticky.js'

export { cacheAware, consistentHash, leastRequest, random, roundRobin, sessionSticky }

/** All shipped profiles, with one workflow; the embedded default is 'single'. */
export function shippedProfiles(workflow: AnyExecuteSpec): readonly Profile[] {
  return [random, roundRobin, leastRequest, cacheAware, sessionSticky, consistentHash].map(make =>
    make(workflow),
  )
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
