import { z } from 'zod'
import { cost } from '../../factories.js'
import { promptLength } from '../../slots.js'
import { inUnits, tokenUnit } from '../../token-unit.js'

/**
 * What the pod's running requests would hold in its KV cache with this one: Dynamo's potential active blocks. Tokens are
 * booked at the decision, grow with the answer and are given back at its end (LOAD.activeTokens). Requests that others
 * sent there, by the pod's metrics, count for a typical one each.
 *
 * That is Dynamo with router_track_output_blocks and without router_assume_kv_reuse: answers count, and a block that
 * several running requests share counts for each, since each reads it at every step of decoding. (To count it once, as
 * Dynamo does unless told otherwise, every hash of a prompt would have to be counted at every booking.) Blocks are not
 * rounded up, so that one of 16 tokens is no dearer than two of 8.
 *
 * With `kv-use`, which knows of everything on the pod, but only since its last metrics: give that the number of a pod's
 * blocks as its weight. Then a hundredth of the cache in use costs as much as as many blocks booked.
 */
export const decodeLoad = cost({
  name: 'decode-load',
  summary: "What the pod's running requests hold in its KV cache, and this one's prompt.",
  reads: [promptLength],
  options: z.object({
    tokensPerUnit: tokenUnit
      .default('block')
      .describe("Tokens that cost 1; block: as many as the pod's own blocks hold. In tokens."),
    // The mean of public chat traces (BurstGPT, Azure 2023) with their answers.
    tokensPerRequest: z
      .number()
      .min(0)
      .default(1000)
      .describe('What a request counts for that the pod has from elsewhere, by its metrics. In tokens.'),
  }),
  build: ({ tokensPerUnit, tokensPerRequest }, { lane, caches }) => {
    const { activeTokens, requests, inflight } = lane
    const toUnits = inUnits(tokensPerUnit, caches)
    return (ctx, pods, out) => {
      const own = ctx.get(promptLength)
      for (let i = 0; i < pods.length; i++) {
        const slot = pods.slots[i] ?? 0
        const foreign = (requests[slot] ?? 0) - (inflight[slot] ?? 0)
        out[i] = own + (activeTokens[slot] ?? 0) + tokensPerRequest * Math.max(foreign, 0)
      }
      toUnits(pods, out)
    }
  },
})
