/**
 * The ring of the whole fleet, made anew when pods come or go; what else changes of the fleet (labels, models, a cordon)
 * moves nobody on it, and a ring of a large fleet takes milliseconds of the request that makes it. Walks skip who is not a candidate, which gives the same
 * pods as a ring of the candidates would, without building one per request.
 */
import { MAX_SLOTS, type PodRef } from '../data/native.js'
import type { PodInfo, PodView, Pool } from '../data/pod-view.js'
import { HashRing } from './hash-ring.js'

export class FleetRing {
  readonly #pods: PodView
  readonly #virtualNodes: number
  #ring: HashRing
  #version = -1
  #members: readonly PodInfo[] = []
  readonly #candidate = new Uint8Array(MAX_SLOTS)

  constructor(pods: PodView, virtualNodes: number) {
    this.#pods = pods
    this.#virtualNodes = virtualNodes
    this.#ring = new HashRing([], virtualNodes)
  }

  /** Begins walks over these pods; each is met once, until `end`. */
  begin(pods: Pool): void {
    if (this.#pods.version !== this.#version) {
      this.#version = this.#pods.version
      this.#refresh(fleet(this.#pods))
    }
    for (let i = 0; i < pods.length; i++) this.#candidate[pods.slots[i] ?? 0] = 1
  }

  #refresh(pods: readonly PodInfo[]): void {
    const before = this.#members
    this.#members = pods
    const isSame = pods.length === before.length && pods.every(({ id, ref }, i) => isAt(before[i], id, ref))
    if (!isSame) this.#ring = new HashRing(pods, this.#virtualNodes)
  }

  /** The ring of the pods that the last walk began with. */
  get ring(): HashRing {
    return this.#ring
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

const isAt = (pod: PodInfo | undefined, id: string, ref: PodRef): boolean => pod?.id === id && pod.ref === ref

function fleet(pods: PodView): PodInfo[] {
  return [...pods.all.slots].flatMap(slot => pods.bySlot(slot) ?? [])
}
