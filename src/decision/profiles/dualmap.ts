import type { AnyExecuteSpec } from '../plugin.js'
import {
  circuitClosed,
  hashBlocks,
  hashCandidates,
  healthy,
  lmetric,
  matchPrefix,
  maxScore,
  prefixKey,
  tokenize,
} from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * DualMap: two hash functions map the prompt's beginning to two pods, and the better of both gets it: each prefix has two
 * homes, so that it stays cached and a busy home has a way out.
 */
export const dualmap = (workflow: AnyExecuteSpec) =>
  profile('dualmap')
    .prepare(tokenize(), hashBlocks(), matchPrefix(), prefixKey({ tokens: 256 }))
    .filter(healthy(), circuitClosed(), hashCandidates({ choices: 2 }))
    .score(lmetric())
    .pick(maxScore({ tieBreak: 'rotate' }))
    .execute(workflow)
