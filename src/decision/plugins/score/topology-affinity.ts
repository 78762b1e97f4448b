import { z } from 'zod'
import { scorer } from '../../factories.js'
import { PodValues } from '../../pod-set.js'

/**
 * Prefers pods that are near: in the same zone, in the same rack. Levels go from wide to narrow, and a pod scores the
 * part of them that it shares with this router without a break: same zone and same rack 1, same zone only 0.5.
 */
export const topologyAffinity = scorer({
  name: 'topology-affinity',
  summary: "Prefers pods that share the router's zone, rack, … by their labels.",
  options: z.object({
    here: z
      .record(z.string(), z.string())
      .refine(here => Object.keys(here).length > 0, { error: 'needs one label at least' })
      .describe(
        "Labels of the router's own place, from the widest to the narrowest: { zone: eu-1a, rack: r7 }.",
      ),
  }),
  build: ({ here }, env) => {
    const levels = Object.entries(here)
    const nearness = new PodValues(env.pods, ({ labels }) => {
      const other = levels.findIndex(([label, value]) => labels[label] !== value)
      return (other === -1 ? levels.length : other) / levels.length
    })
    return (_ctx, pods, out) => {
      const values = nearness.current()
      for (let i = 0; i < pods.length; i++) out[i] = values[pods.slots[i] ?? 0] ?? 0
    }
  },
})
