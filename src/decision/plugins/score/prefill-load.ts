import { z } from 'zod'
import { cost } from '../../factories.js'
import { writeTokensAhead } from '../../prefill.js'
import { cachedTokens, promptLength } from '../../slots.js'

/** What the pod has to prefill before this request's first token, in tokens or in KV blocks. */
export const prefillLoad = cost({
  name: 'prefill-load',
  summary: "What the pod has to prefill first: tokens queued there and the request's own uncached ones.",
  reads: [cachedTokens, promptLength],
  options: z.object({
    tokensPerUnit: z
      .number()
      .positive()
      .default(1)
      .describe('Tokens that cost 1: 1 for a cost in tokens, 16 for one in blocks of vLLM. In tokens.'),
  }),
  build: ({ tokensPerUnit }, { lane }) => {
    const perToken = 1 / tokensPerUnit
    return (ctx, pods, out) => {
      writeTokensAhead(lane, pods, ctx.get(promptLength), ctx.get(cachedTokens), out)
      for (let i = 0; i < pods.length; i++) out[i] = (out[i] ?? 0) * perToken
    }
  },
})
