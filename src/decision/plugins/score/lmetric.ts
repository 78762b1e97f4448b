import { cost, noOptions } from '../../factories.js'
import { ownTokens } from '../../prefill.js'
import { cachedTokens, promptLength } from '../../slots.js'

/**
 * LMetric: P · B, where P is the tokens that the pod would have to prefill first (those queued there and the request's
 * own uncached ones) and B the requests on the pod. Without the queued ones its results are known to be far worse. B
 * counts the request itself: idle pods would otherwise cost nothing, whatever they have cached.
 */
export const lmetric = cost({
  name: 'lmetric',
  summary: 'Tokens to prefill (queued and own) times requests on the pod.',
  reads: [cachedTokens, promptLength],
  options: noOptions,
  build: (_, { lane: { pendingTokens, requests } }) => {
    return (ctx, pods, out) => {
      const length = ctx.get(promptLength)
      const cached = ctx.get(cachedTokens)
      for (let i = 0; i < pods.length; i++) {
        const slot = pods.slots[i] ?? 0
        const tokens = (pendingTokens[slot] ?? 0) + ownTokens(length, cached[slot] ?? 0)
        out[i] = tokens * ((requests[slot] ?? 0) + 1)
      }
    }
  },
})
