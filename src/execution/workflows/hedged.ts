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
import type { Workflow } from '../workflow.js'
import { workflow } from '../workflow-builder.js'
import { hedgeBy, hedgeFields } from './hedge.js'
import { passThrough } from './single.js'

const options = z.object({
  // As for `single`.
  attempts: z
    .int()
    .min(1)
    .max(8)
    .default(3)
    .describe('Most pods tried one after the other, the first included.'),
  ...hedgeFields,
  resume: resumeOption,
})

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
