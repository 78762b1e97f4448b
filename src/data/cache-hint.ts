/** What a pod is thought to hold of one request's prompt, for whoever sends it there and for explanations. */
import { CACHE_MODES, HINT, HINT_WORDS, type Lane, type PodRef, type Ticket } from './native.js'

/** How the router knows what a pod's cache holds; see CACHE_MODE in native.ts. */
export type CacheModeName = (typeof CACHE_MODES)[number]

/** Counts are in tokens, and from the prompt's beginning. */
export interface CacheHint {
  readonly promptTokens: number
  /** In the GPU's cache, by the pod's own events. */
  readonly gpuTokens: number
  /** In slower tiers (CPU memory, disk, …), by the pod's own events. */
  readonly lowerTokens: number
  /** Sent there before, so most likely in its cache. */
  readonly predictedTokens: number
  /** Tokens in one of the pod's blocks. */
  readonly blockSize: number
  readonly mode: CacheModeName
}

/** Of this thread; whatever a call writes is read before the next. */
const words = new Uint32Array(HINT_WORDS)

/** Asks for the hint: one native call, some µs for a long prompt. Undefined if nothing was prepared or the pod is gone. */
export function cacheHintOf(lane: Lane, ticket: Ticket, ref: PodRef): CacheHint | undefined {
  if (!lane.cacheHint(ticket, ref, words)) return undefined
  const word = (index: number): number => words[index] ?? 0
  return {
    promptTokens: word(HINT.prompt),
    gpuTokens: word(HINT.gpu),
    lowerTokens: word(HINT.lower),
    predictedTokens: word(HINT.predicted),
    blockSize: word(HINT.blockSize),
    mode: CACHE_MODES[word(HINT.mode)] ?? 'predicted',
  }
}
