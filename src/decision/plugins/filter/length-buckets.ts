import { z } from 'zod'
import { filter } from '../../factories.js'
import { PodValues } from '../../pod-set.js'
import { promptLength } from '../../slots.js'

/**
 * Keeps long prompts away from short ones: each range of lengths has its pods, by label, so that a chat does not wait
 * behind a book. Where a range's pods are all out, all others are kept. Pods without the label take any length.
 */
export const lengthBuckets = filter({
  name: 'length-buckets',
  summary: "Keeps the pods that are there for prompts of the request's length.",
  reads: [promptLength],
  options: z.object({
    label: z.string().min(1).default('prompts').describe("Label that names a pod's bucket."),
    buckets: z
      .array(
        z.strictObject({
          upTo: z
            .int()
            .min(1)
            .optional()
            .describe('Longest prompt of the bucket; the last has none. In tokens.'),
          value: z.string().describe("The label's value on its pods."),
        }),
      )
      .min(1)
      .refine(buckets => buckets.every(({ upTo }, i) => isAscending(upTo, buckets[i + 1])), {
        error: "needs a higher 'upTo' in each bucket than in the one before, and none in the last",
      })
      .describe('Ranges of lengths, the shortest first.'),
  }),
  build: ({ label, buckets }, env) => {
    const bounds = Float64Array.from(buckets, ({ upTo }) => upTo ?? Number.POSITIVE_INFINITY)
    const values = buckets.map(({ value }) => value)
    const bucket = new PodValues(env.pods, ({ labels }) => {
      const value = labels[label]
      return value === undefined ? ANY : values.indexOf(value)
    })
    return (ctx, pods, keep) => {
      const length = ctx.get(promptLength)
      const own = bounds.findIndex(bound => length <= bound)
      const of = bucket.current()
      let found = 0
      for (let i = 0; i < pods.length; i++) {
        const at = of[pods.slots[i] ?? 0] ?? ANY
        keep[i] = at === own || at === ANY ? 1 : 0
        found += keep[i] ?? 0
      }
      if (found === 0) keep.fill(1, 0, pods.length)
    }
  },
})

/** A pod without the label. */
const ANY = -2

function isAscending(
  upTo: number | undefined,
  next: { readonly upTo?: number | undefined } | undefined,
): boolean {
  if (next === undefined) return upTo === undefined
  return upTo !== undefined && (next.upTo === undefined || next.upTo > upTo)
}
