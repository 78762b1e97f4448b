/** What became of hand-offs, for tests, `/sim/hand-offs` and the metrics page. */

export interface HandOffCounts {
  /** Prompts whose KV blocks (or images whose embeddings) this engine has made ready for another. */
  made: number
  /** Of those, read by another engine to the end. */
  pulled: number
  /** Of those, given up because nobody read them in time. */
  expired: number
  /** Of those, given up: by a reader that went away, or with their own request. */
  abandoned: number
  /** Ready now: their blocks are still held. */
  live: number
  /** Prompts whose KV blocks have come to this engine from another. */
  received: number
  /** Requests refused because of their hand-off: unknown, expired, used before, malformed, or too late. */
  rejected: number
  /** Requests whose hand-off failed and whose prompt was computed here instead (`--kv-load-failure recompute`). */
  recomputed: number
  /** Hints or embeddings that led to nothing, at the cost of computing here. */
  missed: number
  /** Bytes of KV blocks received, and model milliseconds they took. */
  bytes: number
  transferMs: number
}

export const newCounts = (): HandOffCounts => ({
  made: 0,
  pulled: 0,
  expired: 0,
  abandoned: 0,
  live: 0,
  received: 0,
  rejected: 0,
  recomputed: 0,
  missed: 0,
  bytes: 0,
  transferMs: 0,
})
