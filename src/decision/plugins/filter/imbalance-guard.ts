import { z } from 'zod'
import { filter } from '../../factories.js'

/**
 * Where the load is out of balance, only the least loaded pods are left, whatever they have cached. SGLang's router asks
 * for both conditions (64 and 1.5), AIBrix for the first alone (8). Load is requests known to be on the pod.
 */
export const imbalanceGuard = filter({
  name: 'imbalance-guard',
  summary: 'Keeps only the least loaded pods where the load is out of balance; else all.',
  options: z.object({
    difference: z
      .number()
      .min(0)
      .default(64)
      .describe('Out of balance if the highest load exceeds the lowest by more than this. In requests.'),
    ratio: z
      .number()
      .min(0)
      .max(1000)
      .default(1.5)
      .describe('… and if it is over so many times the lowest; 0 leaves this condition out. No unit.'),
  }),
  build: ({ difference, ratio }, { lane: { requests } }) => {
    return (_ctx, pods, keep) => {
      let least = Number.POSITIVE_INFINITY
      let most = 0
      for (let i = 0; i < pods.length; i++) {
        const load = requests[pods.slots[i] ?? 0] ?? 0
        if (load < least) least = load
        if (load > most) most = load
      }
      if (most - least <= difference || most <= ratio * least) return
      for (let i = 0; i < pods.length; i++) if ((requests[pods.slots[i] ?? 0] ?? 0) > least) keep[i] = 0
    }
  },
})
