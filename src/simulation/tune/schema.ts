/**
 * What `phyllo tune` is told: all of `phyllo simulate`'s options but `compare`, and those of the search. The flags, their
 * help and their checks are made of this.
 */
import { z } from 'zod'
import { simulationSchema } from '../options/schema.js'

export const OBJECTIVES = ['ttft-mean', 'ttft-p90', 'ttft-p99', 'e2e-mean', 'goodput'] as const
export type Objective = (typeof OBJECTIVES)[number]

export const tuneSchema = simulationSchema.omit({ compare: true }).extend({
  vary: z
    .array(z.string())
    .optional()
    .describe(
      'Option to vary, as PLUGIN.OPTION=LOW..HIGH or =A,B,C, or alone for all that it may be; absent: every numeric option of the filters, scorers and the picker, within a factor of 4.',
    ),
  objective: z
    .enum(OBJECTIVES)
    .default('ttft-mean')
    .describe('What is to get better; goodput is the part of all requests that meet the SLO.'),
  // Of 36 points drawn evenly (three in five trials), one lies in the best 10 % of the space with a chance of 98 %
  // (1 − 0.9^36; Bergstra and Bengio 2012 argue so for random search); the rest refines it.
  trials: z
    .int()
    .min(1)
    .max(100_000)
    .default(60)
    .describe('Most simulations of the search, the profile as given included.'),
  // The usual share of a held-back set; of 12,031 requests it leaves 3,600, enough for a p99.
  holdBack: z
    .number()
    .min(0.05)
    .max(0.9)
    .default(0.3)
    .describe('Part of the requests, the last ones, that the search never sees. 0.05 to 0.9.'),
  // Five tell a standard deviation within a factor of two or so, and cost about ten more trials.
  repeats: z
    .int()
    .min(2)
    .max(100)
    .default(5)
    .describe(
      'Other seeds, each with arrivals moved by some ms, over which the profile as given and the best one are compared in the end.',
    ),
})

export type TuneOptions = z.output<typeof tuneSchema>
