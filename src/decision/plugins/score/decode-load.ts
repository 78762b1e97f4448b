import { z } from 'zod'
import { cost } from '../../factories.js'
import { promptLength } from '../../slots.js'

/**
 * KV blocks that the pod's running requests would hold with this one: those that its metrics report in use, and the
 * prompt's own. Where metrics or the size of its cache are not known, each request counts for a typical one.
 */
export const decodeLoad = cost({
  name: 'decode-load',
  summary: "KV blocks of the pod's running requests, and of this one's prompt.",
  reads: [promptLength],
  options: z.object({
    // 1,000 tokens, the mean of public chat traces (BurstGPT, Azure 2023) with their answers.
    blocksPerRequest: z
      .number()
      .positive()
      .default(64)
      .describe('Blocks that a request counts for on a pod whose use is not known. In blocks.'),
    blockSize: z
      .int()
      .min(1)
      .max(65_536)
      .default(16)
      .describe("Tokens in a block of the prompt's own. In tokens."),
  }),
  build: ({ blocksPerRequest, blockSize }, { lane: { kvUse, requests }, caches }) => {
    const { blocks } = caches
    return (ctx, pods, out) => {
      caches.refresh()
      const own = Math.ceil(ctx.get(promptLength) / blockSize)
      for (let i = 0; i < pods.length; i++) {
        const slot = pods.slots[i] ?? 0
        const used = (kvUse[slot] ?? 0) * (blocks[slot] ?? 0)
        out[i] = own + (used > 0 ? used : blocksPerRequest * (requests[slot] ?? 0))
      }
    }
  },
})
