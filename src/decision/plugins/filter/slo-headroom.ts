import { z } from 'zod'
import { MAX_SLOTS } from '../../../data/native.js'
import { filter } from '../../factories.js'
import { FirstByteEstimate, unlearnedRate } from '../../first-byte.js'
import { cachedTokens, promptLength } from '../../slots.js'

/**
 * Drops pods that are expected to be late with the first byte, as learned from their answers. Where all would be, all
 * are kept, or with `refuse` none, so that the client can try elsewhere instead of waiting.
 */
export const sloHeadroom = filter({
  name: 'slo-headroom',
  summary: 'Drops pods that are expected to take longer to the first byte than they may.',
  refusal: 'overloaded',
  reads: [cachedTokens, promptLength],
  options: z.object({
    sloMs: z.number().positive().describe('Time to the first byte of an empty prompt. In milliseconds.'),
    sloMsPerToken: z
      .number()
      .min(0)
      .default(0)
      .describe('… and for each prompt token more. In milliseconds.'),
    margin: z
      .number()
      .min(0)
      .max(1)
      .default(0.1)
      .describe('Part of that time that is kept free for what predictions are off by. 0 to 1.'),
    refuse: z.boolean().default(false).describe('Whether the request is refused where all would be late.'),
    tokensPerSecond: unlearnedRate,
  }),
  build: ({ sloMs, sloMsPerToken, margin, refuse, tokensPerSecond }, env) => {
    const estimate = new FirstByteEstimate(env, tokensPerSecond)
    const times = new Float64Array(MAX_SLOTS)
    return (ctx, pods, keep) => {
      const length = ctx.get(promptLength)
      estimate.write(length, ctx.get(cachedTokens), pods, times)
      const bound = (sloMs + sloMsPerToken * length) * (1 - margin)
      let inTime = 0
      for (let i = 0; i < pods.length; i++) {
        keep[i] = (times[i] ?? 0) <= bound ? 1 : 0
        inTime += keep[i] ?? 0
      }
      if (inTime === 0 && !refuse) keep.fill(1, 0, pods.length)
    }
  },
})
