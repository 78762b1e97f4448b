import type { AnyExecuteSpec } from '../plugin.js'
import {
  circuitClosed,
  hashBlocks,
  healthy,
  matchPrefix,
  maxScore,
  prefillTime,
  tokenize,
} from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * For the prefill step of a workflow: the pod where the prompt is computed soonest, by what it has of the prefix and what
 * waits there. The same cost as cache-aware's; nothing decodes on these pods, so requests slow each other by their tokens.
 */
export const prefill = (workflow: AnyExecuteSpec) =>
  profile('prefill')
    .prepare(tokenize(), hashBlocks(), matchPrefix())
    .filter(healthy(), circuitClosed())
    .score(prefillTime({ requestShare: 0, requestTokens: 0 }))
    .pick(maxScore({ tieBreak: 'least-load' }))
    .execute(workflow)
