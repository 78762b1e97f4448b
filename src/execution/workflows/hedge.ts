/**
 * When a second pod is asked: past a percentile of the recent first bytes, within a budget. Of `execute: hedged`, and of a
 * configured workflow's step.
 */
import { z } from 'zod'
import type { Hedge, StepContext } from '../workflow.js'
import { FirstBytes, HedgeBudget } from './first-bytes.js'

export const hedgeFields = {
  // The percentile of the paper: it adds 5 % of load at most and takes away most of the tail.
  percentile: z
    .number()
    .min(50)
    .max(99.9)
    .default(95)
    .describe('Of recent first bytes: the second pod is asked after as long. In percent.'),
  // The prefill of 1,000 tokens on an H100 with an 8B model: below it there is little to win, and where all answers are
  // fast their percentile is noise.
  minWaitMs: z
    .int()
    .min(0)
    .max(600_000)
    .default(50)
    .describe('Least time before the second pod is asked. In milliseconds.'),
  // What the percentile gives while the fleet is well; it holds when it is not.
  budget: z
    .number()
    .min(0)
    .max(1)
    .default(0.05)
    .describe('Most hedges, as a share of the requests; 0 = none.'),
  whole: z
    .boolean()
    .default(false)
    .describe('Hedge answers that do not stream too, by the percentile of theirs.'),
}
export const hedgeOptions = z.strictObject(hedgeFields)
export type HedgeOptions = z.output<typeof hedgeOptions>

/**
 * Hedges saved up at most, by each worker: one slow pod of a few shows in a burst of requests at once. More would let an
 * idle night be spent in the first minute of trouble.
 */
const BURST = 10

/** One for all requests of a step, in one worker. */
export function hedgeBy({ percentile, minWaitMs, budget, whole }: HedgeOptions): Hedge {
  const times = new FirstBytes(percentile)
  const purse = new HedgeBudget(budget, BURST)
  const fits = ({ stream, pinnedTo }: StepContext): boolean => (stream || whole) && pinnedTo === ''
  return {
    afterMs(ctx) {
      if (!fits(ctx)) return undefined
      purse.earn()
      const wait = times.wait(kindOf(ctx))
      return wait === undefined ? undefined : Math.max(wait, minWaitMs)
    },
    spend: () => purse.spend(),
    sample(ctx, ms) {
      if (fits(ctx)) times.add(kindOf(ctx), ms)
    },
  }
}

const kindOf = ({ model, stream }: StepContext): string => `${stream ? 's' : 'w'} ${model}`
