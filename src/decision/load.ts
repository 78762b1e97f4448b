/**
 * How busy pods look to a decision: their requests as far as anyone knows (LOAD.requests), and more while they are new.
 *
 *     (requests + 1) · (warmest / warmth) − 1
 *
 * That is Envoy's slow start for least request: its weights are scaled with the time since a host came, from a tenth up,
 * and hosts are compared by (requests + 1) / weight. The 1 is the request that is to be placed: without it an idle new
 * pod would look as good as an idle warm one, and a burst would go to it. Only differences of warmth count: where all
 * pods are equally new, as after the router's own start, all is as if none were.
 */
import type { LaneView } from '../data/lane-view.js'
import type { Pool } from '../data/pod-view.js'

/**
 * Writes each pod's load, in requests, to its place in the pool. `perToken`: what a prompt token that waits for its first
 * byte counts besides. Into an array and in one call, since a number that a function answers may cost an allocation.
 */
export function writeLoads(lane: LaneView, pods: Pool, perToken: number, out: Float64Array): void {
  const { requests, pendingTokens, warmth } = lane
  let warmest = 0
  for (let i = 0; i < pods.length; i++) {
    const value = warmth[pods.slots[i] ?? 0] ?? 0
    if (value > warmest) warmest = value
  }
  for (let i = 0; i < pods.length; i++) {
    const slot = pods.slots[i] ?? 0
    const load = (requests[slot] ?? 0) + perToken * (pendingTokens[slot] ?? 0)
    const own = warmth[slot] ?? 0
    out[i] = own === warmest ? load : ((load + 1) * warmest) / own - 1
  }
}
