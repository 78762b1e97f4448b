import { z } from 'zod'
import { filter } from '../../factories.js'
import { FleetRing } from '../../fleet-ring.js'
import { hashWord, mixWord } from '../../hash.js'
import { affinityKey } from '../../slots.js'

/** Hash functions that do not know of each other: the key's hash, scrambled with the number of the choice. */
const GOLDEN = 0x9e3779b9
const MOST_CHOICES = 8

/**
 * Narrows to the pods that the affinity key is mapped to, each by a hash function of its own: scorers then choose the
 * better one. With one choice and a bound it is SMG's prefix hash, with two DualMap.
 */
export const hashCandidates = filter({
  name: 'hash-candidates',
  summary: 'Keeps the few pods that the affinity key is mapped to, as long as they are not overloaded.',
  reads: [affinityKey],
  options: z.object({
    choices: z
      .int()
      .min(1)
      .max(MOST_CHOICES)
      .default(2)
      .describe('Pods that a key is mapped to, each by a hash function of its own. No unit.'),
    virtualNodes: z.int().min(1).max(1024).default(160).describe("A pod's places on the ring. No unit."),
    loadFactor: z
      .number()
      .min(1)
      .max(1000)
      .optional()
      .describe(
        'A pod with more than so many times the mean load is none of the choices; if none is left, all pods that are within it are kept. Load is requests known to be on the pod, this one counted in the mean. Default: no bound.',
      ),
  }),
  build: ({ choices, virtualNodes, loadFactor }, env) => {
    const ring = new FleetRing(env.pods, virtualNodes)
    const { requests } = env.lane
    const found = new Uint16Array(1)
    const chosen = new Uint16Array(MOST_CHOICES)
    return (ctx, pods, keep) => {
      if (pods.length <= 1) return
      let bound = Number.POSITIVE_INFINITY
      if (loadFactor !== undefined) {
        let sum = 1
        for (let i = 0; i < pods.length; i++) sum += requests[pods.slots[i] ?? 0] ?? 0
        bound = (loadFactor * sum) / pods.length
      }
      const hash = hashWord(ctx.get(affinityKey))
      ring.begin(pods)
      let count = 0
      for (let choice = 0; choice < choices; choice++) {
        const place = choice === 0 ? hash : mixWord((hash + Math.imul(choice, GOLDEN)) | 0)
        if (ring.walk(place, 1, found) === 0) break
        const slot = found[0] ?? 0
        if ((requests[slot] ?? 0) <= bound) chosen[count++] = slot
      }
      ring.end(pods)
      for (let i = 0; i < pods.length; i++) {
        const slot = pods.slots[i] ?? 0
        if (count === 0) keep[i] = (requests[slot] ?? 0) <= bound ? 1 : 0
        else {
          keep[i] = 0
          for (let c = 0; c < count; c++) if (chosen[c] === slot) keep[i] = 1
        }
      }
    }
  },
})
