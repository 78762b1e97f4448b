/**
 * What a request finds on the pods that take its model's prefill and decode steps, added up from the columns of the
 * present selection.
 */
import type { CacheSizes } from '../data/cache-sizes.js'
import type { LaneView } from '../data/lane-view.js'
import type { PodView, Pool } from '../data/pod-view.js'
import type { Found } from './regime.js'

/** An object that is filled anew by each survey. */
type Sums = { -readonly [Key in keyof Found]: Found[Key] }

export class PodSurvey {
  /** By the latest `read`; what the arrival itself brings is the caller's to fill in. */
  readonly found: Sums = {
    pods: 0,
    alone: 0,
    prefillers: 0,
    prefilling: 0,
    pendingTokens: 0,
    bookings: 0,
    heldTokens: 0,
    roomTokens: 0,
    uncachedTokens: 0,
    prefillMs: -1,
    arrivals: 0,
  }
  readonly #lane: LaneView
  readonly #caches: CacheSizes
  readonly #view: PodView
  /** Pods that do nothing but answer, and whose room is known. */
  #sized = 0

  constructor(lane: LaneView, caches: CacheSizes, view: PodView) {
    this.#lane = lane
    this.#caches = caches
    this.#view = view
  }

  /** Whether the pod answers, and does nothing else. */
  isAlone(slot: number): boolean {
    const pod = this.#view.bySlot(slot)
    return pod?.role === 'decode' || pod?.assigned === 'decode'
  }

  /** Whether one of them does nothing but answer. */
  anyAlone({ slots, length }: Pool): boolean {
    for (let i = 0; i < length; i++) if (this.isAlone(slots[i] ?? 0)) return true
    return false
  }

  /** Adds up; false: the model has no pods of both kinds, and none to prefill for them. */
  read(model: string): boolean {
    const { found } = this
    const decoders = this.#view.stepPool(model, 'decode')
    const prefillers = this.#view.stepPool(model, 'prefill')
    this.#caches.refresh()
    found.pods = 0
    found.alone = 0
    found.prefillers = 0
    found.prefilling = 0
    found.pendingTokens = 0
    found.bookings = 0
    found.heldTokens = 0
    found.roomTokens = 0
    this.#sized = 0
    for (let i = 0; i < decoders.length; i++) this.#addDecoder(decoders.slots[i] ?? 0)
    for (let i = 0; i < prefillers.length; i++) this.#addPrefiller(prefillers.slots[i] ?? 0)
    // A pod that has just come, or gives no metrics, is taken for one like the others.
    if (this.#sized > 0) found.roomTokens /= this.#sized
    return found.alone > 0 && found.alone < found.pods && found.prefillers > 0
  }

  #addDecoder(slot: number): void {
    if (this.#lane.ready[slot] !== 1) return
    const { found } = this
    found.pods++
    this.#add(slot)
    if (!this.isAlone(slot)) return
    found.alone++
    const room = (this.#caches.blocks[slot] ?? 0) * (this.#caches.blockSize[slot] ?? 0)
    if (room === 0) return
    this.#sized++
    found.roomTokens += room
  }

  #addPrefiller(slot: number): void {
    if (this.#lane.ready[slot] !== 1) return
    this.found.prefillers++
    // A pod of both kinds of steps was counted with those that decode.
    const pod = this.#view.bySlot(slot)
    if (pod?.role === 'prefill' || pod?.assigned === 'prefill') this.#add(slot)
  }

  #add(slot: number): void {
    const { found } = this
    const { pendingTokens, inflight, activeTokens } = this.#lane
    const pending = pendingTokens[slot] ?? 0
    if (pending > 0) found.prefilling++
    found.pendingTokens += pending
    found.bookings += inflight[slot] ?? 0
    found.heldTokens += activeTokens[slot] ?? 0
  }
}
