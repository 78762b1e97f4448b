import { z } from 'zod'
import { filter } from '../../factories.js'

/**
 * Keeps pods that the pod picked for an earlier step can hand its KV blocks to: those of the same transfer domain (an
 * RDMA fabric, an NVLink domain), as a label names it. The first pick of a request keeps all pods.
 */
export const reachesEarlierPick = filter({
  name: 'reaches-earlier-pick',
  summary: 'Keeps pods in the transfer domain of the pod picked for an earlier step, by a label.',
  why: ({ labels }) => `it is in another transfer domain (${JSON.stringify(labels)})`,
  options: z.object({
    label: z
      .string()
      .min(1)
      .default('kv-domain')
      .describe('Label that names the domain. Pods without it reach each other.'),
  }),
  build:
    ({ label }, env) =>
    (ctx, pods, keep) => {
      const earlier = ctx.earlierPick
      if (earlier === undefined) return
      const domain = earlier.labels[label]
      for (let i = 0; i < pods.length; i++) {
        if (env.pods.bySlot(pods.slots[i] ?? 0)?.labels[label] !== domain) keep[i] = 0
      }
    },
})
