/**
 * The ring of the whole fleet, made anew when the fleet changes. Walks skip who is not a candidate, which gives the same
 * pods as a ring of the candidates would, without building one per request.
 */
import { MAX_SLOTS } from '../data/native.js'
import type { PodInfo, PodView, Pool } from '../data/pod-view.js'
import { HashRing } from './hash-ring.js'

export class FleetRing {
  readonly #pods: PodView
  readonly #virtualNodes: number
  #ring: HashRing
  #version = -1
  readonly #candidate = new Uint8Array(MAX_SLOTS)

  constructor(pods: PodView, virtualNodes: number) {
    this.#pods = pods
    this.#virtualNodes = virtualNodes
    this.#ring = new HashRing([], virtualNodes)
  }

  /** Begins walks over these pods; each is met once, until `end`. */
  begin(pods: Pool): void {
    if (this.#pods.version !== this.#version) {
      this.#ring = new HashRing(fleet(this.#pods), this.#virtualNodes)
      this.#version = this.#pods.version
    }
    for (let i = 0; i < pods.length; i++) this.#candidate[pods.slots[i] ?? 0] = 1
  }

  /** Writes the slots that come next on the way round from a place, at most `wanted`; answers how many there are. */
  walk(place: number, wanted: number, out: Uint16Array): number {
    const ring = this.#ring
    const candidate = this.#candidate
    const start = ring.find(place)
    let found = 0
    for (let step = 0; step < ring.length && found < wanted; step++) {
      const slot = ring.slotAt(start + step)
      if (candidate[slot] !== 1) continue
      candidate[slot] = 0
      out[found++] = slot
    }
    return found
  }

  end(pods: Pool): void {
    for (let i = 0; i < pods.length; i++) this.#candidate[pods.slots[i] ?? 0] = 0
  }
}

function fleet(pods: PodView): PodInfo[] {
  return [...pods.all.slots].flatMap(slot => pods.bySlot(slot) ?? [])
}
