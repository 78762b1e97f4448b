import { noOptions, scorer } from '../../factories.js'

/** The part of the engine's KV blocks that is free, by its metrics; 1 where it is not known. */
export const kvUse = scorer({
  name: 'kv-use',
  summary: "Prefers pods with more of their KV cache free, by the engines' metrics.",
  options: noOptions,
  build: (_, { lane }) => {
    const { kvUse: used } = lane
    return (_ctx, pods, out) => {
      for (let i = 0; i < pods.length; i++) out[i] = 1 - (used[pods.slots[i] ?? 0] ?? 0)
    }
  },
})
