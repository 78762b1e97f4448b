import type { AnyExecuteSpec } from '../plugin.js'
import {
  circuitClosed,
  hashBlocks,
  healthy,
  lmetric as lmetricPlugin,
  matchPrefix,
  maxScore,
  tokenize,
} from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * LMetric: the least product of tokens to prefill (queued ones and the request's own) and requests on the pod; ties take
 * turns.
 */
export const lmetric = (workflow: AnyExecuteSpec) =>
  profile('lmetric')
    .prepare(tokenize(), hashBlocks(), matchPrefix())
    .filter(healthy(), circuitClosed())
    .score(lmetricPlugin())
    .pick(maxScore({ tieBreak: 'rotate' }))
    .execute(workflow)
