/** How long one step of the batch takes: a roofline of arithmetic against memory traffic. */
import type { EngineParameters } from './parameters.js'

/** What one request does in a step: `tokens` new ones on top of `context` already in the cache. */
export interface StepWork {
  readonly tokens: number
  readonly context: number
}

/** Pairs of a new token and a token that it sees, itself included: n·context + n(n+1)/2. */
export const attentionPairs = (tokens: number, context: number): number =>
  tokens * context + (tokens * (tokens + 1)) / 2

/** Attention of one request in a step, ms: arithmetic, or reading its context, whichever takes longer. */
export const attentionMs = (work: StepWork, parameters: EngineParameters): number =>
  Math.max(
    attentionPairs(work.tokens, work.context) * parameters.attentionMsPerPair,
    (work.context + work.tokens) * parameters.kvReadMsPerToken,
  )

/**
 * Milliseconds of a step. A prefill of n uncached tokens costs c1·n + c2·n² plus c2·2·n·cached; a decode step of a
 * batch costs the weights once and each request's context: both fall out of the same two rooflines.
 */
export function stepMs(batch: readonly StepWork[], parameters: EngineParameters): number {
  let tokens = 0
  let attention = 0
  for (const work of batch) {
    tokens += work.tokens
    attention += attentionMs(work, parameters)
  }
  const linear = Math.max(parameters.weightReadMs, tokens * parameters.linearMsPerToken)
  return parameters.stepOverheadMs + linear + attention
}
