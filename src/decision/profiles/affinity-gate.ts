import type { AnyExecuteSpec } from '../plugin.js'
import {
  affinityGate as affinityGatePlugin,
  circuitClosed,
  firstByteTime,
  hashBlocks,
  healthy,
  matchPrefix,
  maxScore,
  tokenize,
} from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * llm-d's affinity gate: keep to the pods with 0.8 of the prompt cached, except for one request in a hundred, or where the
 * fastest of them is expected to take 5 s longer to the first byte than another; among those that are left, the least
 * expected time. Source: llm-d-router, scheduling/filter/prefixcacheaffinity.
 */
export const affinityGate = (workflow: AnyExecuteSpec) =>
  profile('affinity-gate')
    .prepare(tokenize(), hashBlocks(), matchPrefix())
    .filter(
      healthy(),
      circuitClosed(),
      affinityGatePlugin({ threshold: 0.8, keep: 'all', explore: 0.01, maxPenaltyMs: 5000 }),
    )
    .score(firstByteTime())
    .pick(maxScore({ tieBreak: 'least-load' }))
    .execute(workflow)
