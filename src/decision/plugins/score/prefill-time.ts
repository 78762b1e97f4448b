import { z } from 'zod'
import type { LaneView } from '../../../data/lane-view.js'
import { MAX_SLOTS } from '../../../data/native.js'
import type { Pool } from '../../../data/pod-view.js'
import { cost } from '../../factories.js'
import { PREFILL_TOKENS_PER_SECOND } from '../../first-byte.js'
import { PodSpeeds } from '../../pod-speeds.js'
import { ownTokens } from '../../prefill.js'
import { cachedTokens, promptLength } from '../../slots.js'

/**
 * What the request costs the fleet on a pod, in milliseconds of its engine, up to the first byte:
 *
 *     (queued + own · factor + running + full) · ms per token · (1 + share · requests) · (warmest / warmth)
 *
 * - queued: uncached tokens that wait there; with `own`, the request's uncached ones, they are its time to the first
 *   token. Requests that others sent and that wait there are taken to be as long as this one.
 * - factor: tokens that are computed delay whoever comes next, while those that wait are computed anyway. On an idle
 *   fleet that is next to nothing (`ownFactor`: just enough that of two equal times the one with less work wins, so that
 *   a long prefix isn't computed everywhere), and it grows with the mean queue, since work then always delays somebody.
 * - running: what the requests on the pod still take of its time, as tokens that it could prefill meanwhile.
 * - full: KV tokens in use beyond what leaves room for new requests, which wait until others have given them back.
 * - share: the part of each engine step (and of the KV cache, when that is full) that each running request takes. With
 *   a full KV cache, what a request waits for is others' decoding, and their number is the best sign of it.
 * - warmth: as for least-load, a new pod looks busier than it is while it is new.
 *
 * LMetric's product of tokens and requests is the limit of a very large share; expected waiting time is that of none.
 * Between them is what wins: a pod with three requests instead of two isn't half as slow again, and no less either.
 */
export const prefillTime = cost({
  name: 'prefill-time',
  summary:
    "Milliseconds of the engine until the first byte, the request's own uncached tokens counting more.",
  reads: [cachedTokens, promptLength],
  options: z.object({
    ownFactor: z
      .number()
      .min(1)
      .max(100)
      .default(1.1)
      .describe('What an own uncached token counts on an idle fleet against a queued one. No unit.'),
    backlogTokens: z
      .number()
      .positive()
      .default(16_000)
      .describe('Mean queue of the pods at which it counts once more than on an idle fleet. In tokens.'),
    maxFactor: z.number().min(1).max(100).default(3).describe('The most that it ever counts. No unit.'),
    // A request of 300 tokens has half of them to come, each at about the time of one (H100) to two (A10G) tokens of
    // prefill. With this, a hit of 1,000 tokens outweighs seven requests.
    requestTokens: z
      .number()
      .min(0)
      .default(128)
      .describe(
        'Tokens that could be prefilled in the time that a request on the pod still takes. In tokens.',
      ),
    // Engines preempt or queue from full on; metrics are up to a second old.
    kvRoom: z
      .number()
      .min(0)
      .max(1)
      .default(0.2)
      .describe(
        'Part of the KV cache to be left free: what is in use beyond it counts as queued, where the size of the cache is known. 0 to 1.',
      ),
    requestShare: z
      .number()
      .min(0)
      .max(10)
      .default(0.05)
      .describe("Part of the engine's time that each request on the pod takes. 0 to 10, no unit."),
    tokensPerSecond: z
      .number()
      .positive()
      .default(PREFILL_TOKENS_PER_SECOND)
      .describe('Prefill rate of pods of which nothing else is known. In tokens per second.'),
    label: z
      .string()
      .min(1)
      .default('gpu')
      .describe("Label that names a pod's class, for mixed fleets; see classes."),
    classes: z
      .record(z.string(), z.number().positive())
      .default({})
      .describe("Prefill rates by that label's value, for mixed fleets. In tokens per second."),
    measured: z
      .boolean()
      .default(true)
      .describe(
        'Whether pods without a class are compared by what their answers took, where that differs by half or more.',
      ),
    fetchTokensPerSecond: z
      .number()
      .positive()
      .optional()
      .describe(
        'For pods that share a KV store (LMCache, Mooncake): what one fetches of a prefix that another has computed. In tokens per second. Default: they share none.',
      ),
  }),
  build: (options, env) => {
    const { lane, caches } = env
    /** Milliseconds to fetch a token; 0: there is no store. */
    const fetchMs = options.fetchTokensPerSecond === undefined ? 0 : 1000 / options.fetchTokensPerSecond
    const speeds = new PodSpeeds(env, options)
    const queued = new Float64Array(MAX_SLOTS)
    const extra = options.ownFactor - 1
    const most = options.maxFactor - 1
    const roomyUse = 1 - options.kvRoom

    return (ctx, pods, out) => {
      const length = ctx.get(promptLength)
      const cached = ctx.get(cachedTokens)
      speeds.refresh()
      caches.refresh()
      const backlog = writeQueued(lane, pods, length, queued)
      const factor = 1 + Math.min(most, extra + backlog / options.backlogTokens)
      const shared = fetchMs > 0 ? deepest(env.pods.all, cached, length) : 0
      let warmest = 0
      for (let i = 0; i < pods.length; i++) {
        const warmth = lane.warmth[pods.slots[i] ?? 0] ?? 0
        if (warmth > warmest) warmest = warmth
      }
      for (let i = 0; i < pods.length; i++) {
        const slot = pods.slots[i] ?? 0
        const hit = cached[slot] ?? 0
        const ms = speeds.msPerToken[slot] ?? 0
        let own = ownTokens(length, hit) * ms
        // What another pod has computed is fetched where that is faster than computing it.
        if (shared > hit) own = ownTokens(length, shared) * ms + (shared - hit) * Math.min(ms, fetchMs)
        const requests = lane.requests[slot] ?? 0
        const over = Math.max(0, (lane.kvUse[slot] ?? 0) - roomyUse)
        const full = over * (caches.blocks[slot] ?? 0) * (caches.blockSize[slot] ?? 0)
        const work = ((queued[i] ?? 0) + options.requestTokens * requests + full) * ms + own * factor
        const busy = 1 + options.requestShare * requests
        out[i] = (work * busy * warmest) / (lane.warmth[slot] ?? 1)
      }
    }
  },
})

/** Writes the tokens that wait on each pod; answers their mean. */
function writeQueued(
  { pendingTokens, requests, inflight, waiting }: LaneView,
  pods: Pool,
  length: number,
  out: Float64Array,
): number {
  let sum = 0
  for (let i = 0; i < pods.length; i++) {
    const slot = pods.slots[i] ?? 0
    const others = Math.min(waiting[slot] ?? 0, (requests[slot] ?? 0) - (inflight[slot] ?? 0))
    const tokens = (pendingTokens[slot] ?? 0) + Math.max(0, others) * length
    out[i] = tokens
    sum += tokens
  }
  return sum / pods.length
}

/** The longest prefix that any pod of the fleet has. */
function deepest(pods: Pool, cached: Uint32Array, length: number): number {
  let most = 0
  for (let i = 0; i < pods.length; i++) {
    const tokens = cached[pods.slots[i] ?? 0] ?? 0
    if (tokens > most) most = tokens
  }
  return Math.min(most, length)
}
