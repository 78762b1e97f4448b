import { z } from 'zod'
import { filter } from '../../factories.js'
import { PodSet } from '../../pod-set.js'

/** Keeps pods by their labels; every condition must hold. Looked up anew only when the fleet changes. */
export const labelSelector = filter({
  name: 'label-selector',
  summary: 'Keeps pods whose labels have the values that are asked for.',
  options: z
    .object({
      match: z
        .record(z.string(), z.union([z.string(), z.array(z.string()).min(1)]))
        .default({})
        .describe(
          'Labels with the value, or a list of values, of which a pod must have one. All must match.',
        ),
      without: z.array(z.string()).default([]).describe('Labels that a pod must not have at all.'),
      orElse: z
        .enum(['none', 'all'])
        .default('none')
        .describe('Who is left where no pod matches: none (the request is refused) or all.'),
    })
    .refine(({ match, without }) => Object.keys(match).length + without.length > 0, {
      error: "needs 'match', 'without' or both",
    }),
  build: ({ match, without, orElse }, env) => {
    const wanted = Object.entries(match).map(([label, value]) => [label, [value].flat()] as const)
    const matching = new PodSet(env.pods, ({ labels }) => {
      const has = wanted.every(([label, values]) => values.includes(labels[label] ?? ''))
      return has && without.every(label => !Object.hasOwn(labels, label))
    })
    return (_ctx, pods, keep) => {
      const isIn = matching.current()
      let found = 0
      for (let i = 0; i < pods.length; i++) found += isIn[pods.slots[i] ?? 0] ?? 0
      if (found === 0 && orElse === 'all') return
      for (let i = 0; i < pods.length; i++) keep[i] = isIn[pods.slots[i] ?? 0] ?? 0
    }
  },
})
