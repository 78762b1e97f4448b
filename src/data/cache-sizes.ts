/**
 * How large the pods' KV caches are and how much of them is known to be filled, by slot. They change slowly, so a look
 * every now and then does: a native call a pod, far from every decision.
 */
import type { LaneView } from './lane-view.js'
import { CACHE, CACHE_WORDS } from './native.js'
import type { PodView } from './pod-view.js'

/** Milliseconds between two looks. A pod that prefills 15,000 tokens a second fills some hundred blocks meanwhile. */
const FRESH_MS = 100

export class CacheSizes {
  /** Blocks that the engine's cache has room for; 0 unknown. */
  readonly blocks: Float64Array
  /** Tokens in a block; 0 unknown. */
  readonly blockSize: Float64Array
  /** Tokens that the pod is known or believed to hold. */
  readonly cachedTokens: Float64Array
  readonly #lane: LaneView
  readonly #pods: PodView
  readonly #now: () => number
  readonly #status = new Float64Array(CACHE_WORDS)
  #readAt = Number.NEGATIVE_INFINITY
  #version = -1

  /** `now`: milliseconds. */
  constructor(lane: LaneView, pods: PodView, now: () => number) {
    this.#lane = lane
    this.#pods = pods
    this.#now = now
    this.blocks = new Float64Array(lane.width)
    this.blockSize = new Float64Array(lane.width)
    this.cachedTokens = new Float64Array(lane.width)
  }

  /** The next look is a new one: for decisions that are written down. */
  expire(): void {
    this.#readAt = Number.NEGATIVE_INFINITY
  }

  /** Looks again if the last time was long enough ago; to be called before the columns are read. */
  refresh(): void {
    const age = this.#now() - this.#readAt
    if (age >= 0 && age < FRESH_MS && this.#version === this.#pods.version) return
    this.#readAt = this.#now()
    this.#version = this.#pods.version
    const { all } = this.#pods
    for (let i = 0; i < all.length; i++) this.#read(all.slots[i] ?? 0)
  }

  #read(slot: number): void {
    const pod = this.#pods.bySlot(slot)
    const status = this.#status
    const isKnown = pod !== undefined && this.#lane.state.cacheStatus(pod.ref, status)
    const at = (word: number): number => (isKnown ? (status[word] ?? 0) : 0)
    const size = at(CACHE.blockSize)
    this.blocks[slot] = at(CACHE.capacity)
    this.blockSize[slot] = size
    // Where the size of a block is unknown, so is everybody's: any number keeps the order.
    this.cachedTokens[slot] = (at(CACHE.blocks) + at(CACHE.predictedBlocks)) * (size || 1)
  }
}
