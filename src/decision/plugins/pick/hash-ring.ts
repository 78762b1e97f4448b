import { z } from 'zod'
import { picker } from '../../factories.js'
import { FleetRing } from '../../fleet-ring.js'
import { hashWord } from '../../hash.js'
import { RANKING_SIZE } from '../../ranking.js'
import { affinityKey } from '../../slots.js'

/**
 * Consistent hashing: the key's place on a ring of pods, then the pods that follow. With `concurrency-cap` among the
 * filters it is consistent hashing with bounded loads.
 *
 * There is no slow start here: a new pod takes over its arcs of the ring, a part of the keys like any other's, and a key
 * that came to it bit by bit would move twice, and be cached in two places.
 */
export const hashRing = picker({
  name: 'hash-ring',
  summary: 'Picks by consistent hashing of the affinity key; scores do not matter.',
  reads: [affinityKey],
  options: z.object({
    virtualNodes: z
      .int()
      .min(1)
      .max(1024)
      .default(160)
      .describe("A pod's places on the ring: more spread keys more evenly (160: within about 8 %). No unit."),
  }),
  build: ({ virtualNodes }, env) => {
    const ring = new FleetRing(env.pods, virtualNodes)
    const found = new Uint16Array(RANKING_SIZE)
    return (ctx, pods, _scores, ranking) => {
      ring.begin(pods)
      const count = ring.walk(hashWord(ctx.get(affinityKey)), Math.min(pods.length, RANKING_SIZE), found)
      ring.end(pods)
      for (let i = 0; i < count; i++) ranking.push(found[i] ?? 0)
    }
  },
})
