import type { AnyExecuteSpec } from '../plugin.js'
import {
  circuitClosed,
  hashBlocks,
  healthy,
  leastLoad,
  matchPrefix,
  maxScore,
  prefixOverlap,
  tokenize,
} from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * Goes where the prompt's prefix is cached, unless that pod is much busier than another. Equal weights are what makes
 * a full hit worth least-load's `slack` of 8 requests and no more: were the prefix weighted higher, no imbalance could
 * ever outweigh a full hit, and everybody who shares one system prompt would queue on one pod.
 */
export const cacheAware = (workflow: AnyExecuteSpec) =>
  profile('cache-aware')
    .prepare(tokenize(), hashBlocks(), matchPrefix())
    .filter(healthy(), circuitClosed())
    .score(prefixOverlap({ weight: 1 }), leastLoad({ weight: 1 }))
    .pick(maxScore({ tieBreak: 'least-load' }))
    .execute(workflow)
