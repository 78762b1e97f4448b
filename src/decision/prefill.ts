/**
 * What a pod has to prefill before a request's first token: the uncached tokens that others have waiting there, and
 * the request's own. Booked tokens count from the decision on, until their first byte is back.
 */
import type { LaneView } from '../data/lane-view.js'
import type { Pool } from '../data/pod-view.js'

/** The request's own uncached tokens on a pod. One at least: an engine computes the last token of a full hit too. */
export function ownTokens(length: number, cached: number): number {
  return cached < length ? length - cached : 1
}

/** Writes tokens queued and own, for each pod at its place in the pool. */
export function writeTokensAhead(
  { pendingTokens }: LaneView,
  pods: Pool,
  length: number,
  cached: Uint32Array,
  out: Float64Array,
): void {
  for (let i = 0; i < pods.length; i++) {
    const slot = pods.slots[i] ?? 0
    out[i] = (pendingTokens[slot] ?? 0) + ownTokens(length, cached[slot] ?? 0)
  }
}
