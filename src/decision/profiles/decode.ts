import type { AnyExecuteSpec } from '../plugin.js'
import {
  circuitClosed,
  hashBlocks,
  healthy,
  kvUse,
  leastLoad,
  matchPrefix,
  maxScore,
  prefixOverlap,
  tokenize,
} from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * For the decode step of a workflow: room in the KV cache and few requests beside it, since each running request slows
 * every step. What the pod has of the prefix need not be transferred, or makes a prefill elsewhere needless: it counts as
 * much as either.
 */
export const decode = (workflow: AnyExecuteSpec) =>
  profile('decode')
    .prepare(tokenize(), hashBlocks(), matchPrefix())
    .filter(healthy(), circuitClosed())
    .score(kvUse(), leastLoad(), prefixOverlap())
    .pick(maxScore({ tieBreak: 'least-load' }))
    .execute(workflow)
