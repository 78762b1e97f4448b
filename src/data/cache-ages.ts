/**
 * When something last changed what is known of each pod's cache: a batch of its own events, or a request that was sent
 * there and is believed to be cached since. Two times a slot in shared memory; the event thread writes one, the workers
 * the other. Only explanations read them.
 */
import { cacheStatus } from './kv-events/cache-status.js'
import { MAX_SLOTS, type PodRef, type SharedState, slotOf } from './native.js'

/** Per slot: the pod, the time of its last batch; the pod, the time of the last request sent there. */
const WORDS = 4

export const createCacheAges = (): SharedArrayBuffer =>
  new SharedArrayBuffer(MAX_SLOTS * WORDS * Float64Array.BYTES_PER_ELEMENT)

/** One thread's access. Times are milliseconds since the epoch, which all threads share. */
export class CacheAges {
  readonly #words: Float64Array

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Float64Array(memory)
  }

  /** A batch of the pod's events came. */
  heard(ref: PodRef): void {
    this.#note(slotOf(ref) * WORDS, ref)
  }

  /** A request was sent to the pod, whose prompt it will most likely hold. */
  sent(ref: PodRef): void {
    this.#note(slotOf(ref) * WORDS + 2, ref)
  }

  /** Milliseconds since the last batch of the pod's events; null: none came. */
  sinceEvents(ref: PodRef): number | null {
    return this.#since(slotOf(ref) * WORDS, ref)
  }

  /** Milliseconds since a request was last sent to the pod; null: none was. */
  sinceSent(ref: PodRef): number | null {
    return this.#since(slotOf(ref) * WORDS + 2, ref)
  }

  #note(at: number, ref: PodRef): void {
    this.#words[at] = ref
    this.#words[at + 1] = Date.now()
  }

  #since(at: number, ref: PodRef): number | null {
    if (this.#words[at] !== ref || this.#words[at + 1] === 0) return null
    return Math.max(0, Date.now() - (this.#words[at + 1] ?? 0))
  }
}

/** What is known of a pod's cache as a whole. Blocks are the pod's own, of `blockSize` tokens. */
export interface PodCache {
  /** How it is known: `exact`, `stale` (exact but for lost events) or `predicted`. */
  readonly source: 'exact' | 'stale' | 'predicted'
  /**
   * Milliseconds since what is known was last brought up to date: by a batch of events, or where it is predicted, by a
   * request sent there; null: by nothing so far.
   */
  readonly ageMs: number | null
  /** Milliseconds from the engine's writing of the last batch to its arrival; null without events. */
  readonly lagMs: number | null
  readonly blocks: number
  readonly lowerBlocks: number
  readonly predictedBlocks: number
  /** Tokens in a block; 0 unknown. */
  readonly blockSize: number
  /** Blocks that the engine has room for; 0 unknown. */
  readonly capacity: number
}

/** Looks at pods' caches for explanations: a native call a pod. */
export class CacheLook {
  constructor(
    private readonly state: Pick<SharedState, 'cacheStatus'>,
    private readonly ages: CacheAges,
  ) {}

  /** Undefined if the pod is gone. */
  of(ref: PodRef): PodCache | undefined {
    const status = cacheStatus(this.state, ref)
    if (status === undefined) return undefined
    const { mode: source, lagMs, blocks, lowerBlocks, predictedBlocks, blockSize, capacity } = status
    const isPredicted = source === 'predicted'
    return {
      source,
      ageMs: isPredicted ? this.ages.sinceSent(ref) : this.ages.sinceEvents(ref),
      lagMs: isPredicted ? null : lagMs,
      blocks,
      lowerBlocks,
      predictedBlocks,
      blockSize,
      capacity,
    }
  }
}
