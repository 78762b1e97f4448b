import type { AnyExecuteSpec } from '../plugin.js'
import {
  affinityGate,
  circuitClosed,
  deviationCap,
  hashBlocks,
  healthy,
  imbalanceGuard,
  leastLoad,
  matchPrefix,
  maxScore,
  tokenize,
} from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * `prefix-cache` of AIBrix: the least loaded pods where the difference is over 8 requests; else, of the pods within one
 * standard deviation over the mean load, the one with the best match (of equals, the least loaded), and without any match
 * the least loaded. Source: pkg/plugins/gateway/algorithms/prefix_cache.go.
 */
export const aibrixPrefixCache = (workflow: AnyExecuteSpec) =>
  profile('aibrix-prefix-cache')
    .prepare(tokenize(), hashBlocks(), matchPrefix())
    .filter(
      healthy(),
      circuitClosed(),
      imbalanceGuard({ difference: 8, ratio: 0 }),
      deviationCap({ deviations: 1 }),
      affinityGate({ threshold: 0, keep: 'best', explore: 0, maxPenaltyMs: 0 }),
    )
    .score(leastLoad())
    .pick(maxScore({ tieBreak: 'least-load' }))
    .execute(workflow)
