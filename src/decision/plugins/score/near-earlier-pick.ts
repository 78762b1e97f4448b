import { z } from 'zod'
import { scorer } from '../../factories.js'

/**
 * Prefers pods near the one picked for an earlier step of the same request: KV blocks travel faster within a rack than
 * between zones. Levels go from wide to narrow, and a pod scores the part of them that it shares without a break. The
 * first pick of a request has nothing to be near: all pods score the same.
 */
export const nearEarlierPick = scorer({
  name: 'near-earlier-pick',
  summary: 'Prefers pods in the zone, rack, … of the pod picked for an earlier step, by their labels.',
  options: z.object({
    labels: z
      .array(z.string().min(1))
      .min(1)
      .default(['zone', 'rack'])
      .describe('Labels that tell where a pod is, from the widest to the narrowest.'),
  }),
  build:
    ({ labels }, env) =>
    (ctx, pods, out) => {
      const there = ctx.earlierPick?.labels
      if (there === undefined) return
      for (let i = 0; i < pods.length; i++) {
        const here = env.pods.bySlot(pods.slots[i] ?? 0)?.labels
        if (here === undefined) continue
        let shared = 0
        for (const label of labels) {
          const place = there[label]
          if (place === undefined || here[label] !== place) break
          shared++
        }
        out[i] = shared / labels.length
      }
    },
})
