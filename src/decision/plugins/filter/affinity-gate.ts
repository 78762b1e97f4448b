import { z } from 'zod'
import { MAX_SLOTS } from '../../../data/native.js'
import type { Pool } from '../../../data/pod-view.js'
import { Dice } from '../../dice.js'
import { filter } from '../../factories.js'
import { FirstByteEstimate, unlearnedRate } from '../../first-byte.js'
import { cachedTokens, promptLength } from '../../slots.js'

/** Dice have whole numbers: a chance of one in a million is told from none. */
const SIDES = 1_000_000

/**
 * Keeps to the pods that have the prompt's prefix cached, unless they are too slow: the branch that several policies
 * have in common (llm-d's prefix affinity, SGLang's and AIBrix's best match, SMetric's follow-up turns). If nobody has
 * enough of it, or the gate opens, all pods are left to the scorers.
 */
export const affinityGate = filter({
  name: 'affinity-gate',
  summary: 'Keeps only pods with enough of the prompt cached, unless they are too slow; else all.',
  reads: [cachedTokens, promptLength],
  options: z.object({
    threshold: z
      .number()
      .min(0)
      .max(1)
      .default(0.8)
      .describe('Share of the prompt that a pod must have cached; 0: anything. 0 to 1, no unit.'),
    keep: z
      .enum(['all', 'best'])
      .default('all')
      .describe('Who is kept: all pods with that share, or only those with the most.'),
    explore: z
      .number()
      .min(0)
      .max(1)
      .default(0.01)
      .describe('Chance that the gate is open all the same, so that other pods learn prefixes too. 0 to 1.'),
    maxPenaltyMs: z
      .number()
      .min(0)
      .default(5000)
      .describe(
        'The gate opens where the fastest pod it keeps is expected to take so much longer to the first byte than the fastest other one; 0: never for that. In milliseconds.',
      ),
    sloMs: z
      .number()
      .min(0)
      .default(0)
      .describe(
        'The gate opens where no pod it keeps is expected to be in time and another one is: the time to the first byte of an empty prompt; 0: never for that. In milliseconds.',
      ),
    sloMsPerToken: z
      .number()
      .min(0)
      .default(0)
      .describe('… and for each prompt token more. In milliseconds.'),
    slack: z.number().positive().default(1).describe('Multiplies that time. No unit.'),
    turns: z
      .enum(['all', 'follow-up'])
      .default('all')
      .describe('Which requests the gate is for: all, or only those that go on with a conversation.'),
    tokensPerSecond: unlearnedRate,
  }),
  build: (options, env) => {
    const { threshold, keep: whom, explore, turns } = options
    const dice = new Dice(() => env.random())
    const estimate = new FirstByteEstimate(env, options.tokensPerSecond)
    const times = new Float64Array(MAX_SLOTS)
    const isTimed = options.maxPenaltyMs > 0 || options.sloMs > 0
    const exploring = Math.round(explore * SIDES)

    return (ctx, pods, keep) => {
      const length = ctx.get(promptLength)
      if (pods.length <= 1 || length === 0) return
      if (turns === 'follow-up' && !ctx.isFollowUp()) return
      if (exploring > 0 && dice.roll(SIDES) < exploring) return
      const cached = ctx.get(cachedTokens)
      const most = highest(pods, cached)
      if (most === 0 || most < threshold * length) return
      const least = whom === 'best' ? most : Math.max(1, threshold * length)
      if (isTimed) {
        estimate.write(length, cached, pods, times)
        if (isTooSlow(pods, cached, least, times, length, options)) return
      }
      for (let i = 0; i < pods.length; i++) if ((cached[pods.slots[i] ?? 0] ?? 0) < least) keep[i] = 0
    }
  },
})

function highest(pods: Pool, cached: Uint32Array): number {
  let most = 0
  for (let i = 0; i < pods.length; i++) {
    const tokens = cached[pods.slots[i] ?? 0] ?? 0
    if (tokens > most) most = tokens
  }
  return most
}

/** Are the pods with `least` tokens or more cached slower than they may be, and are others better? */
function isTooSlow(
  pods: Pool,
  cached: Uint32Array,
  least: number,
  times: Float64Array,
  length: number,
  { maxPenaltyMs, sloMs, sloMsPerToken, slack }: { [name in LatencyOption]: number },
): boolean {
  let kept = Number.POSITIVE_INFINITY
  let others = Number.POSITIVE_INFINITY
  for (let i = 0; i < pods.length; i++) {
    const ms = times[i] ?? 0
    if ((cached[pods.slots[i] ?? 0] ?? 0) >= least) {
      if (ms < kept) kept = ms
    } else if (ms < others) others = ms
  }
  if (maxPenaltyMs > 0 && kept - others > maxPenaltyMs) return true
  const bound = slack * (sloMs + sloMsPerToken * length)
  return sloMs > 0 && kept > bound && others <= bound
}
type LatencyOption = 'maxPenaltyMs' | 'sloMs' | 'sloMsPerToken' | 'slack'
