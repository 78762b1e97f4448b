import type { AnyExecuteSpec } from '../plugin.js'
import {
  affinityGate,
  circuitClosed,
  freeCache,
  hashBlocks,
  healthy,
  imbalanceGuard,
  matchPrefix,
  maxScore,
  tokenize,
} from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * `cache_aware` of SGLang's router and SMG: the least loaded pod where the load is out of balance (by more than 64 requests
 * and 1.5 times), else the pod with the best match if that is over 0.3 of the prompt, else the one with the most free
 * cache. The router's index stands for its trees. Source: sgl-model-gateway/src/policies/cache_aware.rs.
 */
export const sglangCacheAware = (workflow: AnyExecuteSpec) =>
  profile('sglang-cache-aware')
    .prepare(tokenize(), hashBlocks(), matchPrefix())
    .filter(
      healthy(),
      circuitClosed(),
      imbalanceGuard({ difference: 64, ratio: 1.5 }),
      affinityGate({ threshold: 0.3, keep: 'best', explore: 0, maxPenaltyMs: 0 }),
    )
    .score(freeCache())
    .pick(maxScore({ tieBreak: 'least-load' }))
    .execute(workflow)
