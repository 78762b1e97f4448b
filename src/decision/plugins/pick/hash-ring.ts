import { z } from 'zod'
import { MAX_SLOTS } from '../../../data/native.js'
import type { PodInfo, PodView } from '../../../data/pod-view.js'
import { picker } from '../../factories.js'
import { hashText } from '../../hash.js'
import { HashRing } from '../../hash-ring.js'
import { RANKING_SIZE } from '../../ranking.js'
import { affinityKey } from '../../slots.js'

/**
 * Consistent hashing: the key's place on a ring of pods, then the pods that follow. The ring holds the whole fleet and
 * the walk skips who is not a candidate, which gives the same pod as a ring of the candidates would, without building
 * one per request. With `concurrency-cap` among the filters it is consistent hashing with bounded loads.
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
    let ring = new HashRing([], virtualNodes)
    let version = -1
    const candidate = new Uint8Array(MAX_SLOTS)

    return (ctx, pods, _scores, ranking) => {
      if (env.pods.version !== version) {
        ring = new HashRing(fleet(env.pods), virtualNodes)
        version = env.pods.version
      }
      for (let i = 0; i < pods.length; i++) candidate[pods.slots[i] ?? 0] = 1
      const wanted = Math.min(pods.length, RANKING_SIZE)
      const start = ring.find(hashText(ctx.get(affinityKey)))
      for (let step = 0; step < ring.length && ranking.length < wanted; step++) {
        const slot = ring.slotAt(start + step)
        if (candidate[slot] === 1) {
          ranking.push(slot)
          candidate[slot] = 0
        }
      }
      for (let i = 0; i < pods.length; i++) candidate[pods.slots[i] ?? 0] = 0
    }
  },
})

function fleet(pods: PodView): PodInfo[] {
  return [...pods.all.slots].flatMap(slot => pods.bySlot(slot) ?? [])
}
