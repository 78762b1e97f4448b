/**
 * Hedged requests (Dean and Barroso, "The Tail at Scale", CACM 2013): where the first pod has sent nothing within the
 * 95th percentile of recent first bytes, a second one gets the request too. Who answers first, answers; the other is
 * ended at once and its load given back.
 *
 * - The wait is measured, of each model, in each worker. A pod that was overtaken counts with the time it had been
 *   waited for: it was beyond the percentile by then, so that cutting it off does not make the percentile smaller.
 * - Hedges are a share of the requests at most: where all pods are slow, all requests pass the wait, and an overloaded
 *   fleet must not be sent everything twice.
 * - The first byte of an answer that does not stream is the whole answer, and its time is how long an answer the client
 *   has asked for; a second copy of those would cost most and tell least. They are left alone unless told otherwise, and
 *   are measured apart then.
 * - An error of one pod is the client's answer only if no other is still at work.
 */
import { z } from 'zod'
import { executor } from '../../decision/factories.js'
import { resumeOption, resumePolicy } from '../resume/options.js'
import type { Hedge, StepContext, Workflow } from '../workflow.js'
import { workflow } from '../workflow-builder.js'
import { FirstBytes, HedgeBudget } from './first-bytes.js'
import { passThrough } from './single.js'

const options = z.object({
  // As for `single`.
  attempts: z
    .int()
    .min(1)
    .max(8)
    .default(3)
    .describe('Most pods tried one after the other, the first included.'),
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
  resume: resumeOption,
})
type Options = z.output<typeof options>

/**
 * Hedges saved up at most, by each worker: one slow pod of a few shows in a burst of requests at once. More would let an
 * idle night be spent in the first minute of trouble.
 */
const BURST = 10

/** `execute: hedged` of a profile. */
export const hedged = executor({
  name: 'hedged',
  summary: 'as single, but a second pod is asked where the first is slower than most; the faster one answers',
  options,
})

export function hedgedWorkflow(given: unknown): Workflow {
  const chosen = options.parse(given)
  return workflow('hedged')
    .step({
      name: 'serve',
      output: 'relay',
      onFailure: { kind: 'retry', attempts: chosen.attempts },
      hedge: hedgeBy(chosen),
      request: passThrough,
    })
    .build({ resume: resumePolicy(chosen.resume) })
}

function hedgeBy({ percentile, minWaitMs, budget, whole }: Options): Hedge {
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
