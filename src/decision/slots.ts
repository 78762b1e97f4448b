/**
 * The built-in slots. Those of the native steps are lazy: the value stays in the native core under the request's
 * ticket and is fetched when somebody reads it.
 */
import { isPodRef, type PodRef, SUMMARY, SUMMARY_WORDS } from '../data/native.js'
import type { RoutingContext } from './context.js'
import { slot } from './slot.js'

// One per thread, as each worker loads its own copy of the module; used between two synchronous statements only.
const summary = new Uint32Array(SUMMARY_WORDS)

function summaryWord(ctx: RoutingContext, word: number): number {
  ctx.lane.native.summary(ctx.ticket, summary)
  return summary[word] ?? 0
}

/** Token ids of the prompt as the engine will see them. A copy of 4 bytes per token: most plugins want `promptLength`. */
export const promptTokens = slot('promptTokens').lazily(ctx => ctx.lane.native.tokens(ctx.ticket))

/** Tokens in the prompt; estimated as bytes / 4 for a model without a tokenizer. */
export const promptLength = slot('promptLength').lazily(ctx => summaryWord(ctx, SUMMARY.promptTokens))

/** Cumulative hashes of the prompt's full blocks. A copy. */
export const blockHashes = slot('blockHashes').lazily(ctx => ctx.lane.native.hashes(ctx.ticket))

/**
 * Prompt tokens each pod holds already, by pod slot (not by position in the pool). One native look-up per selection
 * however many plugins read it; valid until the selection ends.
 */
export const cachedTokens = slot('cachedTokens').lazily(ctx => ctx.lane.cachedTokens(ctx.ticket))

/** What the client calls its session; null where it names none. */
export const sessionKey = slot('sessionKey').of<string | null>()

/** The pod the session lives on, -1 if on none. */
export const sessionPod = slot('sessionPod').lazily((ctx): PodRef | -1 => {
  const code = ctx.lane.native.sessionPod(ctx.ticket)
  return isPodRef(code) ? code : -1
})

/** What consistent hashing hashes: equal keys go to the same pod while the fleet stays the same. */
export const affinityKey = slot('affinityKey').of<string>()
