import { noOptions, scorer } from '../../factories.js'

/** The engine's own queue: 1 for the shortest, 0 for the longest, 1 for all where they are equal. */
export const queue = scorer({
  name: 'queue',
  summary:
    "Prefers pods whose engine has fewer requests waiting, by its metrics, between the fleet's extremes.",
  options: noOptions,
  build: (_, { lane: { waiting } }) => {
    return (_ctx, pods, out) => {
      let least = Number.POSITIVE_INFINITY
      let most = 0
      for (let i = 0; i < pods.length; i++) {
        const requests = waiting[pods.slots[i] ?? 0] ?? 0
        if (requests < least) least = requests
        if (requests > most) most = requests
      }
      const scale = most > least ? 1 / (most - least) : 0
      for (let i = 0; i < pods.length; i++) out[i] = 1 - ((waiting[pods.slots[i] ?? 0] ?? 0) - least) * scale
    }
  },
})
