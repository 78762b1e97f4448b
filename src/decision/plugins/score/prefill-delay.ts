import { z } from 'zod'
import { cost } from '../../factories.js'
import { unlearnedRate } from '../../first-byte.js'
import { ownTokens } from '../../prefill.js'
import { PrefillDelay } from '../../prefill-delay.js'
import { cachedTokens, promptLength } from '../../slots.js'

/** The request's own time to its first token and that by which it holds up those that decode on the pod, in milliseconds. */
export const prefillDelay = cost({
  name: 'prefill-delay',
  summary:
    'Milliseconds to the first token, and by which those that decode on the pod are held up meanwhile.',
  reads: [cachedTokens, promptLength],
  options: z.object({
    tokensPerSecond: unlearnedRate,
  }),
  build: ({ tokensPerSecond }, env) => {
    const delay = new PrefillDelay(env, tokensPerSecond)
    return (ctx, pods, out) => {
      const length = ctx.get(promptLength)
      const cached = ctx.get(cachedTokens)
      delay.begin(length)
      for (let i = 0; i < pods.length; i++) {
        const slot = pods.slots[i] ?? 0
        delay.look(slot, ownTokens(length, cached[slot] ?? 0))
        out[i] = delay.own + delay.others
      }
    }
  },
})
