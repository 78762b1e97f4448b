import { z } from 'zod'
import { MAX_SLOTS } from '../../../data/native.js'
import { cost } from '../../factories.js'
import { promptLength } from '../../slots.js'

/** Requests over which the part of the time is taken in which a pod prefills. */
const REMEMBERED = 48
/** A pod that always prefills still decodes a little. */
const LEAST_FREE = 0.05

/**
 * How long a token takes on the pod, in tokens whose keys and values are read meanwhile:
 *
 *     (weights + tokens held by those that decode + own) / (1 − part of the time in which it prefills) ^ caution
 *
 * A step reads the weights and each request's context, and where a prompt is computed in chunks beside it, it takes that
 * much longer. The part is what requests find when they come (Poisson arrivals see time averages, Wolff 1982), so it is
 * measured without a clock: the mean of "prompt tokens wait there" over the last of them. How much those that decode
 * hold is told by their number and the fleet's mean, which is as fresh as the last booking; metrics are a second old.
 */
export const decodeTime = cost({
  name: 'decode-time',
  summary: 'What a token takes: the context of those that decode there, and how much of its time the pod prefills.',
  reads: [promptLength],
  options: z.object({
    // 8 ms of a step over 49 ns a token, for an 8B model on an H100; 130,000 on an A10G, 300,000 for 32B on two H100.
    weightTokens: z
      .number()
      .positive()
      .default(160_000)
      .describe('Tokens of context whose reading takes as long as the rest of a step. In tokens.'),
    caution: z
      .number()
      .min(0)
      .max(8)
      .default(1)
      .describe('How much prefills count: 1 is what they cost on average, more because they come in bursts.'),
  }),
  build: ({ weightTokens, caution }, { lane, caches, pods: view }) => {
    const { kvUse, requests, pendingTokens } = lane
    const busy = new Float64Array(MAX_SLOTS)
    let meanPrompt = 0

    return (ctx, pods, out) => {
      caches.refresh()
      const own = ctx.get(promptLength)
      // Who is picked for a second time does not come at random.
      const isArrival = ctx.earlierPick === undefined
      if (isArrival) meanPrompt = meanPrompt === 0 ? own : meanPrompt + (own - meanPrompt) / REMEMBERED
      const { all } = view
      let used = 0
      let held = 0
      for (let i = 0; i < all.length; i++) {
        const slot = all.slots[i] ?? 0
        const isBusy = (pendingTokens[slot] ?? 0) > 0 ? 1 : 0
        if (isArrival) busy[slot] = (busy[slot] ?? 0) + (isBusy - (busy[slot] ?? 0)) / REMEMBERED
        used += (kvUse[slot] ?? 0) * (caches.blocks[slot] ?? 0) * (caches.blockSize[slot] ?? 0)
        held += requests[slot] ?? 0
      }
      const perRequest = used > 0 && held > 0 ? used / held : meanPrompt
      for (let i = 0; i < pods.length; i++) {
        const slot = pods.slots[i] ?? 0
        const pending = pendingTokens[slot] ?? 0
        const waiting = pending > 0 ? Math.max(1, Math.round(pending / Math.max(1, meanPrompt))) : 0
        const decoding = Math.max(0, (requests[slot] ?? 0) - waiting)
        const free = Math.max(LEAST_FREE, 1 - (busy[slot] ?? 0))
        out[i] = (weightTokens + decoding * perRequest + own) / free ** caution
      }
    }
  },
})
