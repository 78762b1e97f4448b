import { z } from 'zod'
import { cost } from '../../factories.js'
import { writeTokensAhead } from '../../prefill.js'
import { cachedTokens, promptLength } from '../../slots.js'
import { inUnits, tokenUnit } from '../../token-unit.js'

/** What the pod has to prefill before this request's first token, in tokens or in KV blocks. */
export const prefillLoad = cost({
  name: 'prefill-load',
  summary: "What the pod has to prefill first: tokens queued there and the request's own uncached ones.",
  reads: [cachedTokens, promptLength],
  options: z.object({
    tokensPerUnit: tokenUnit
      .default(1)
      .describe(
        "Tokens that cost 1: 1 for a cost in tokens; block: as many as the pod's own blocks hold. In tokens.",
      ),
  }),
  build: ({ tokensPerUnit }, { lane, caches }) => {
    const toUnits = inUnits(tokensPerUnit, caches)
    return (ctx, pods, out) => {
      writeTokensAhead(lane, pods, ctx.get(promptLength), ctx.get(cachedTokens), out)
      toUnits(pods, out)
    }
  },
})
