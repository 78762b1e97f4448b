import { scorer } from '../../factories.js'
import { cachedTokens, promptLength } from '../../slots.js'

/** The share of the prompt that the pod need not compute: cached tokens / prompt tokens. */
export const prefixOverlap = scorer({
  name: 'prefix-overlap',
  summary: "The share of the prompt's tokens that the pod has cached.",
  reads: [cachedTokens, promptLength],
  score(ctx, pods, out) {
    const length = ctx.get(promptLength)
    if (length === 0) return
    const cached = ctx.get(cachedTokens)
    for (let i = 0; i < pods.length; i++) out[i] = (cached[pods.slots[i] ?? 0] ?? 0) / length
  },
})
