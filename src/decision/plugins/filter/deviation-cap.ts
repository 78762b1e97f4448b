import { z } from 'zod'
import { filter } from '../../factories.js'

/**
 * Drops pods whose load is over the mean by more than so many standard deviations. At least one pod is at or below the
 * mean, so something is always left.
 */
export const deviationCap = filter({
  name: 'deviation-cap',
  summary: 'Drops pods whose load is more than some standard deviations over the mean.',
  options: z.object({
    deviations: z
      .number()
      .min(0)
      .max(100)
      .default(1)
      .describe('Standard deviations over the mean load that are let through. No unit.'),
  }),
  build: ({ deviations }, { lane: { requests } }) => {
    return (_ctx, pods, keep) => {
      let sum = 0
      for (let i = 0; i < pods.length; i++) sum += requests[pods.slots[i] ?? 0] ?? 0
      const mean = sum / pods.length
      let squares = 0
      for (let i = 0; i < pods.length; i++) squares += ((requests[pods.slots[i] ?? 0] ?? 0) - mean) ** 2
      // A sum of rounded parts may end below what all pods have alike.
      const bound = mean + deviations * Math.sqrt(squares / pods.length) + 1e-9
      for (let i = 0; i < pods.length; i++) if ((requests[pods.slots[i] ?? 0] ?? 0) > bound) keep[i] = 0
    }
  },
})
