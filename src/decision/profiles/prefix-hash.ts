import type { AnyExecuteSpec } from '../plugin.js'
import {
  circuitClosed,
  hashCandidates,
  healthy,
  leastLoad,
  maxScore,
  prefixKey,
  tokenize,
} from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * `prefix_hash` of SMG: the pod that the first 256 tokens are mapped to, or the least loaded one while that has more than
 * 1.25 times the mean. Source: sgl-model-gateway/src/policies/prefix_hash.rs.
 */
export const prefixHash = (workflow: AnyExecuteSpec) =>
  profile('prefix-hash')
    .prepare(tokenize(), prefixKey({ tokens: 256 }))
    .filter(healthy(), circuitClosed(), hashCandidates({ choices: 1, loadFactor: 1.25 }))
    .score(leastLoad())
    .pick(maxScore({ tieBreak: 'least-load' }))
    .execute(workflow)
