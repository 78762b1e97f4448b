import { z } from 'zod'
import type { Pool } from '../../../data/pod-view.js'
import { filter } from '../../factories.js'

/**
 * Drops pods that have as many requests in flight as they may. `factor` is the bound of consistent hashing with bounded
 * loads (Mirrokni, Thorup, Zadimoghaddam, 2016): ceil(factor × (m + 1) / n) for m requests on n pods, this one counted,
 * so that with a factor of 1 or more there is always a pod below it. The bound goes into `ctx.bound`: the load seen here
 * is a snapshot, and only the booking, which checks again atomically, keeps it across worker threads.
 */
export const concurrencyCap = filter({
  name: 'concurrency-cap',
  summary:
    'Drops pods with too many requests in flight: an absolute number, a multiple of the mean, or both.',
  refusal: 'overloaded',
  why: ({ load }, bound) => `${load.inflight} requests in flight, ${bound} allowed`,
  options: z
    .object({
      max: z.int().min(1).optional().describe('Most requests in flight on a pod. No unit.'),
      factor: z
        .number()
        .min(1)
        .max(1000)
        .optional()
        .describe('Most requests in flight on a pod as a multiple of the mean over the pods left. No unit.'),
    })
    .refine(({ max, factor }) => max !== undefined || factor !== undefined, {
      error: "needs 'max', 'factor' or both",
    }),
  build: ({ max = Number.POSITIVE_INFINITY, factor }, { lane }) => {
    const { inflight } = lane
    return (ctx, pods, keep) => {
      if (pods.length === 0) return
      const relative =
        factor === undefined ? max : Math.ceil((factor * (total(inflight, pods) + 1)) / pods.length)
      const bound = Math.min(max, relative)
      for (let i = 0; i < pods.length; i++) if ((inflight[pods.slots[i] ?? 0] ?? 0) >= bound) keep[i] = 0
      // A second cap in the profile may only tighten the first.
      ctx.bound = ctx.bound === 0 ? bound : Math.min(ctx.bound, bound)
    }
  },
})

function total(inflight: Float64Array, pods: Pool): number {
  let sum = 0
  for (let i = 0; i < pods.length; i++) sum += inflight[pods.slots[i] ?? 0] ?? 0
  return sum
}
