import { z } from 'zod'
import { scorer } from '../../factories.js'
import { writeLoads } from '../../load.js'

/**
 * Lower load is better, measured from the least loaded candidate:
 *
 *     score = 1 − min(1, (load − least) / max(slack, RELATIVE_SLACK × least))
 *
 * Why not (max − load) / (max − min): on a quiet fleet one request more would then be worth as much as a whole cached
 * prompt. Why not 1 − (load − min) / max(slack, max − min): one pod that hangs stretches the scale until differences
 * between the others vanish. Here a pod's score depends on itself and the least loaded one only.
 *
 * With prefix-overlap at the same weight, a full hit is worth exactly `slack` requests: it survives a difference of 3,
 * and at 8 the least loaded pod wins (as a tie of scores, settled by max-score's tie-break). Half a hit is worth half.
 * The two constants are the points where published routers give up on the cache: AIBrix at a difference of 8, SGLang
 * at 1.5 times the least load. The second matters when pods are busy: at 64 in flight, 8 more is noise (√64).
 *
 * The load is that of load.ts: all requests that are known to be on the pod, and more than that while it is new.
 */
export const leastLoad = scorer({
  name: 'least-load',
  summary: 'Prefers pods with less load; falls to 0 where a pod has `slack` more than the least loaded one.',
  options: z.object({
    slack: z
      .number()
      .positive()
      .default(8)
      .describe('The difference in load over which a pod scores 0. In requests.'),
    tokensPerRequest: z
      .number()
      .min(0)
      .default(0)
      .describe(
        'Prompt tokens waiting for their first byte that weigh as much as one request on the pod; 0 leaves them out. In tokens.',
      ),
  }),
  build: ({ slack, tokensPerRequest }, { lane }) => {
    const perToken = tokensPerRequest === 0 ? 0 : 1 / tokensPerRequest
    return (_ctx, pods, out) => {
      writeLoads(lane, pods, perToken, out)
      let least = Number.POSITIVE_INFINITY
      for (let i = 0; i < pods.length; i++) {
        const load = out[i] ?? 0
        if (load < least) least = load
      }
      const scale = 1 / Math.max(slack, RELATIVE_SLACK * least)
      for (let i = 0; i < pods.length; i++) out[i] = 1 - Math.min(1, ((out[i] ?? 0) - least) * scale)
    }
  },
})

const RELATIVE_SLACK = 0.5
