import { noOptions, scorer } from '../../factories.js'

/**
 * Prefers pods that have room for new prefixes: those of which the fewest cached tokens are known. It is what SGLang's
 * router does with its trees' sizes; 1 for an empty cache, 0 for the fullest one.
 */
export const freeCache = scorer({
  name: 'free-cache',
  summary: 'Prefers pods that are known to hold fewer cached tokens than others.',
  options: noOptions,
  build: (_, { caches }) => {
    const { cachedTokens } = caches
    return (_ctx, pods, out) => {
      caches.refresh()
      let most = 0
      for (let i = 0; i < pods.length; i++) {
        const tokens = cachedTokens[pods.slots[i] ?? 0] ?? 0
        if (tokens > most) most = tokens
      }
      const scale = most > 0 ? 1 / most : 0
      for (let i = 0; i < pods.length; i++) out[i] = 1 - (cachedTokens[pods.slots[i] ?? 0] ?? 0) * scale
    }
  },
})
