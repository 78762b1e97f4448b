import { filter, noOptions } from '../../factories.js'

/** Keeps pods that take new requests: known to all workers, up, not cordoned, not leaving. */
export const healthy = filter({
  name: 'healthy',
  summary: 'Drops pods that are down, cordoned or leaving.',
  why: () => 'down, cordoned or leaving',
  options: noOptions,
  build: (_, { lane }) => {
    const { ready } = lane
    return (_ctx, pods, keep) => {
      for (let i = 0; i < pods.length; i++) if (ready[pods.slots[i] ?? 0] !== 1) keep[i] = 0
    }
  },
})
