import { z } from 'zod'
import { cost } from '../../factories.js'
import { FirstByteEstimate, unlearnedRate } from '../../first-byte.js'
import { cachedTokens, promptLength } from '../../slots.js'

/** The time to the first byte that is expected on the pod, as learned from its answers; until then by a prefill rate. */
export const firstByteTime = cost({
  name: 'first-byte-time',
  summary: 'Milliseconds to the first byte that are expected on the pod, as learned from its answers.',
  reads: [cachedTokens, promptLength],
  options: z.object({
    tokensPerSecond: unlearnedRate,
  }),
  build: ({ tokensPerSecond }, env) => {
    const estimate = new FirstByteEstimate(env, tokensPerSecond)
    return (ctx, pods, out) => {
      estimate.write(ctx.get(promptLength), ctx.get(cachedTokens), pods, out)
    }
  },
})
