import { z } from 'zod'
import { MAX_SLOTS } from '../../../data/native.js'
import { Dice } from '../../dice.js'
import { filter } from '../../factories.js'
import { hashText } from '../../hash.js'
import { PodValues } from '../../pod-set.js'

const SIDES = 2 ** 31

/**
 * Splits requests between groups of pods by given parts, for canaries: 95 of 100 to `stable`, 5 to `canary`. With a
 * header, whoever sends the same value always comes to the same group. A group none of whose pods is left does not
 * take part, so a canary that fails costs no request.
 */
export const weightedSplit = filter({
  name: 'weighted-split',
  summary: 'Keeps one group of pods, drawn by weight: canaries, A/B tests.',
  options: z.object({
    label: z.string().min(1).default('version').describe("Label that names a pod's group."),
    weights: z
      .record(z.string(), z.number().min(0))
      .refine(weights => Object.values(weights).some(weight => weight > 0), {
        error: 'needs one weight over 0 at least',
      })
      .describe("Parts by that label's value; pods of other groups get nothing. No unit."),
    header: z
      .string()
      .min(1)
      .toLowerCase()
      .optional()
      .describe('Request header whose value decides, instead of chance; without it, chance.'),
  }),
  build: ({ label, weights, header }, env) => {
    const names = Object.keys(weights)
    const parts = Float64Array.from(Object.values(weights))
    const group = new PodValues(env.pods, ({ labels }) => names.indexOf(labels[label] ?? ''))
    const dice = new Dice(() => env.random())
    const present = new Uint8Array(names.length)
    const groups = new Int32Array(MAX_SLOTS)

    return (ctx, pods, keep) => {
      const values = group.current()
      present.fill(0)
      for (let i = 0; i < pods.length; i++) {
        const which = values[pods.slots[i] ?? 0] ?? -1
        groups[i] = which
        if (which >= 0) present[which] = 1
      }
      let sum = 0
      for (let g = 0; g < parts.length; g++) if (present[g] === 1) sum += parts[g] ?? 0
      const key = header === undefined ? undefined : ctx.header(header)
      const draw = key === undefined ? dice.roll(SIDES) / SIDES : hashText(key) / 2 ** 32
      let left = draw * sum
      let chosen = -1
      for (let g = 0; g < parts.length; g++) {
        if (present[g] !== 1 || parts[g] === 0) continue
        chosen = g
        left -= parts[g] ?? 0
        if (left < 0) break
      }
      // Nobody of a group that has a part is left: whoever there is, is better than none.
      if (chosen === -1) return
      for (let i = 0; i < pods.length; i++) if (groups[i] !== chosen) keep[i] = 0
    }
  },
})
