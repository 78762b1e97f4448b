import { MAX_SLOTS } from '../../../data/native.js'
import type { Pool } from '../../../data/pod-view.js'
import { noOptions, scorer } from '../../factories.js'
import { cachedTokens } from '../../slots.js'

/**
 * Spreads requests that nobody has anything of cached: the pod whose last such request is longest ago scores 1, the
 * latest one 0. Where something is cached, all score 0.5. The order is one for all threads, and a pod moves in it when
 * a request was booked there.
 */
export const noHitLru = scorer({
  name: 'no-hit-lru',
  summary: 'Of requests without any cache hit, prefers the pod that had none of these for longest.',
  reads: [cachedTokens],
  options: noOptions,
  build: (_, env) => {
    const { coldTurns } = env.board
    // Selecting and booking are one synchronous step, so this is of the request that is booked.
    let isCold = false
    env.onBooked((_ctx, slot) => {
      if (isCold) env.board.wentCold(slot)
    })
    const all = new Int32Array(MAX_SLOTS)
    let sorted = all.subarray(0, 0)

    return (ctx, pods, out) => {
      isCold = !hasHit(pods, ctx.get(cachedTokens))
      if (!isCold || pods.length === 1) {
        // One by one: a fraction that is handed to `fill` is an allocation.
        for (let i = 0; i < pods.length; i++) out[i] = isCold ? 1 : 0.5
        return
      }
      if (sorted.length !== pods.length) sorted = all.subarray(0, pods.length)
      const base = anyTurn(pods, coldTurns)
      for (let i = 0; i < pods.length; i++) sorted[i] = sinceTurn(coldTurns[pods.slots[i] ?? 0] ?? 0, base)
      sorted.sort()
      const scale = 1 / (pods.length - 1)
      for (let i = 0; i < pods.length; i++) {
        const turn = sinceTurn(coldTurns[pods.slots[i] ?? 0] ?? 0, base)
        out[i] = 1 - below(sorted, turn) * scale
      }
    }
  },
})

/**
 * Turns are counted in 32 bits, which a thousand cold requests a second use up in 25 days; then the count goes on from
 * below zero. So turns are compared by their distance from one of them, which says who was first as long as no two are
 * 2^31 turns apart. A pod that never had one is before all others.
 */
function sinceTurn(turn: number, base: number): number {
  return turn === NEVER ? LEAST : (turn - base) | 0
}
const NEVER = 0
const LEAST = -(2 ** 31)

/** The turn of one of the pods, if any had one. */
function anyTurn(pods: Pool, coldTurns: Int32Array): number {
  for (let i = 0; i < pods.length; i++) {
    const turn = coldTurns[pods.slots[i] ?? 0] ?? NEVER
    if (turn !== NEVER) return turn
  }
  return NEVER
}

/** How many of the sorted turns are earlier. */
function below(sorted: Int32Array, turn: number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] ?? 0) < turn) low = middle + 1
    else high = middle
  }
  return low
}

function hasHit(pods: Pool, cached: Uint32Array): boolean {
  for (let i = 0; i < pods.length; i++) if ((cached[pods.slots[i] ?? 0] ?? 0) > 0) return true
  return false
}
