/** What of the division into prefill and decode pods can be said in the file. */
import { z } from 'zod'
import { count, ms } from '../yaml/fields.js'

const reassign = z
  .strictObject({
    // The fleet's own division is the operator's until they say otherwise: an engine may be tuned for one step.
    enabled: z
      .boolean()
      .default(false)
      .describe(
        'Whether pods of role `both` are kept to one step, prefill or decode, by the recommended split.',
      ),
    minPrefill: count(1, 1, 1_024, 'Fewest pods of a model that take prefill steps.'),
    minDecode: count(1, 1, 1_024, 'Fewest pods of a model that take decode steps.'),
    // From a half on no move can be worth its own reversal (src/data/split/reassign.ts); a quarter more keeps demand that
    // wavers around the middle between two splits from moving a pod to and fro.
    hysteresis: z
      .number()
      .min(0.5)
      .max(1_024)
      .default(0.75)
      .describe(
        'By how many pods a step may have more than its share before one is taken away from it. In pods.',
      ),
    // A window for the decode pod to fill (its first requests end after some 20 s), and one for the difference to last.
    cooldownMs: ms(60_000, "Between two changes of a model's pods.", 0),
  })
  .prefault({})
  .describe('Re-assignment of pods that can play both roles.')

export const disaggregation = z
  .strictObject({
    // As often as the engines' metrics are read.
    everyMs: ms(1_000, "Between two looks at the pods' prefill and decode load.", 50, 60_000),
    // An answer of 1,000 tokens takes some 20 s, a prompt of 100,000 tokens 10 s: shorter, and one request would be the
    // fleet's load. Much longer, and the morning's rush would be over before the pods are divided for it.
    windowMs: ms(
      30_000,
      'Time that the load is averaged over, and that a difference must last.',
      100,
      600_000,
    ),
    reassign,
  })
  .prefault({})
  .describe('Fleets with prefill and decode pods: how their split is measured, and whether it is kept up.')
