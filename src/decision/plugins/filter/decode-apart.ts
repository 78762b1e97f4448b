import { z } from 'zod'
import { BOARD_MODELS } from '../../../data/fleet-board.js'
import type { Pool } from '../../../data/pod-view.js'
import { filter } from '../../factories.js'
import type { RequestView } from '../../plugin.js'
import { PodSurvey } from '../../pod-survey.js'
import { ownTokens } from '../../prefill.js'
import { Regime } from '../../regime.js'
import type { Reader } from '../../slot.js'
import { cachedTokens, promptLength } from '../../slots.js'

type Asked = RequestView & Reader<typeof promptLength | typeof cachedTokens>

/**
 * For the decode step of a fleet with pods of role `decode`, which alone do nothing else, and pods of role `both`: drops
 * the latter while prefills and answers are better kept apart (regime.ts), and tells the workflow's choice by
 * `ctx.keptApart`. A pod of role `both` stays while none of role `decode` is left that has room. Where the fleet has no
 * such two kinds of pods, nothing is dropped and nothing told; nor for models beyond those that the board counts by
 * themselves. An explanation is no arrival: it goes by what was decided last for a request.
 */
export const decodeApart = filter({
  name: 'decode-apart',
  summary: 'Leaves pods of role `both` to prefills while pods of role `decode` alone answer faster.',
  reads: [promptLength, cachedTokens],
  refusal: 'overloaded',
  why: () => 'left to prefills: pods of role `decode` alone answer faster',
  options: z.object({
    // 8 ms of a step over 49 ns a token, for an 8B model on an H100; 130,000 on an A10G, 300,000 for 32B on two H100.
    weightTokens: z
      .number()
      .positive()
      .default(160_000)
      .describe('Tokens of context whose reading takes as long as the rest of a step. In tokens.'),
    // In the cells of the bench the ways are 5 % apart and more; where it is less than 2 %, either will do.
    margin: z
      .number()
      .min(0)
      .max(1)
      .default(0.02)
      .describe('By how much the other way has to be faster for a change. As a part of the time per token.'),
    // As long as an answer of 1,000 tokens: what decodes on pods that turn to prefills is done by the next change.
    dwellMs: z
      .number()
      .min(0)
      .max(3_600_000)
      .default(30_000)
      .describe('Least time between two changes. In milliseconds.'),
  }),
  build: (options, { board, caches, lane, latency, now, pods: view }) => {
    const survey = new PodSurvey(lane, caches, view)
    const regimes = new Map<number, Regime>()

    const regimeOf = (modelId: number): Regime | undefined => {
      let regime = regimes.get(modelId)
      if (regime === undefined && modelId < BOARD_MODELS) {
        regime = new Regime(options)
        regimes.set(modelId, regime)
      }
      return regime
    }

    /** A request has come, of which the survey is; answers what becomes of it. */
    const arrived = (ctx: Asked): boolean | undefined => {
      const { modelId } = ctx
      const regime = regimeOf(modelId)
      if (regime === undefined) return undefined
      if (board.isOnlooker) return board.keptApart(modelId) ?? regime.isApart
      const { found } = survey
      const decoders = view.stepPool(ctx.model, 'decode')
      found.uncachedTokens = ownTokens(ctx.get(promptLength), longest(decoders, ctx.get(cachedTokens)))
      found.prefillMs = latency.aloneMs(decoders, view, found.uncachedTokens)
      found.arrivals = board.arrived(modelId)
      regime.arrived(found, now())
      board.keepApart(modelId, regime.isApart)
      return regime.isApart
    }

    return (ctx, pods, keep) => {
      if (!survey.read(ctx.model)) return
      // Who is picked for a second time has arrived before.
      ctx.keptApart ??= arrived(ctx)
      if (ctx.keptApart && survey.anyAlone(pods)) {
        for (let i = 0; i < pods.length; i++) if (!survey.isAlone(pods.slots[i] ?? 0)) keep[i] = 0
      }
    }
  },
})

function longest({ slots, length }: Pool, cached: Uint32Array): number {
  let most = 0
  for (let i = 0; i < length; i++) most = Math.max(most, cached[slots[i] ?? 0] ?? 0)
  return most
}
