/** The pods still in the running within one selection: preallocated, compacted after each filter. */
import { MAX_SLOTS } from '../data/native.js'
import type { Pool } from '../data/pod-view.js'

export class Candidates implements Pool {
  readonly slots = new Uint16Array(MAX_SLOTS)
  length = 0

  load(pool: Pool): void {
    // An indexed loop: `set(subarray)` would allocate the view.
    for (let i = 0; i < pool.length; i++) this.slots[i] = pool.slots[i] ?? 0
    this.length = pool.length
  }

  /** Pools are sorted and stay so, which makes this a few steps; one that is not is looked through. */
  has(slot: number): boolean {
    let low = 0
    let high = this.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.slots[middle] ?? 0) < slot) low = middle + 1
      else high = middle
    }
    if (low < this.length && this.slots[low] === slot) return true
    const at = this.slots.indexOf(slot)
    return at >= 0 && at < this.length
  }

  /** Drops the pods whose keep[i] is 0; answers how many went. Order is kept. */
  compact(keep: Uint8Array): number {
    let kept = 0
    for (let i = 0; i < this.length; i++) {
      if (keep[i] !== 0) this.slots[kept++] = this.slots[i] ?? 0
    }
    const dropped = this.length - kept
    this.length = kept
    return dropped
  }
}
