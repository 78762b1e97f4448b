/**
 * How long each pod takes to its first byte, learned from the answers that it gave: no side process, no training.
 *
 *     ms ≈ w0 + w1 · tokens ahead + w2 · requests on the pod + w3 · KV use
 *
 * (latency-weights.ts says what weights mean.) Tokens ahead are those that the pod has to prefill before the first byte: queued ones and the request's own uncached
 * ones. The weights are those of least squares with exponential forgetting, which is what recursive least squares
 * computes (Haykin, Adaptive Filter Theory, ch. 10); kept as sums instead of an inverse, because sums add up: each
 * thread writes a row of its own in shared memory, and a reader adds all rows. So all threads learn from all answers
 * without a lock. A reader may see a row half written; that is off by one answer of some fifty, until the next look.
 */
import { FEATURES, LatencyWeights } from './latency-weights.js'
import { MAX_SLOTS, type PodRef, slotOf } from './native.js'
import type { PodView, Pool } from './pod-view.js'

/**
 * Per slot: the pod, the weight of its samples, the upper triangle of Σxxᵀ, Σxy; and of prompts that found none before
 * them Σ1, Σtokens, Σms, Σtokens², Σtokens·ms, tokens in thousands.
 */
const PRODUCTS = (FEATURES * (FEATURES + 1)) / 2
const OF_PRODUCTS = 2
const OF_ANSWERS = OF_PRODUCTS + PRODUCTS
const OF_ALONE = OF_ANSWERS + FEATURES
const ALONE = 5
const WORDS = OF_ALONE + ALONE
/** Such prompts from which on their time is believed, of all pods: chance is a few percent of a prefill. */
const ENOUGH_ALONE = 5
/** Spread of lengths below which their price can't be told from the rest: a twentieth of their mean. */
const LEAST_SPREAD = 0.05

/** A row forgets by this per answer: the last fifty count. Fewer would follow chance, more would not follow a change. */
const MEMORY = 0.98
/** Answers (as far as they are not forgotten) from which on the model says something: five per weight. */
const ENOUGH = 20
/**
 * The spread of tokens ahead below which their price cannot be told from the constant, in thousands: a standard
 * deviation of 50 tokens costs a few milliseconds on any engine, which is what chance costs too.
 */
const LEAST_VARIANCE = 0.05 ** 2
/** Pulls weights that the answers say nothing of to zero; small beside the sums of twenty answers. */
const RIDGE = 0.05
/** No answer takes longer, no queue is longer: the longest contexts are ten million tokens. */
const HOUR_MS = 3_600_000
const MOST_TOKENS = 1e8
const MOST_REQUESTS = 1e6
/** Milliseconds for which solved weights are used before they are solved again: 2 µs a pod. */
const FRESH_MS = 200

export interface LatencyHandle {
  readonly memory: SharedArrayBuffer
  readonly width: number
  readonly rows: number
}

/** Memory for so many threads that learn. */
export function createLatencyMemory(width: number, rows: number): LatencyHandle {
  return { memory: new SharedArrayBuffer(rows * width * WORDS * Float64Array.BYTES_PER_ELEMENT), width, rows }
}

/** One thread's access. */
export class LatencyModel extends LatencyWeights {
  readonly #all: Float64Array
  readonly #own: Float64Array
  readonly #rowWords: number
  readonly #rows: number
  readonly #solvedAt: Float64Array
  readonly #solvedFor: Float64Array
  readonly #sums = new Float64Array(WORDS)

  /** `now`: milliseconds that only grow. */
  constructor(
    { memory, width, rows }: LatencyHandle,
    row: number,
    private readonly now: () => number,
  ) {
    super(width)
    this.#rowWords = width * WORDS
    this.#rows = rows
    this.#all = new Float64Array(memory)
    this.#own = this.#all.subarray(row * this.#rowWords, (row + 1) * this.#rowWords)
    this.#solvedAt = new Float64Array(width).fill(Number.NEGATIVE_INFINITY)
    this.#solvedFor = new Float64Array(width)
  }

  /**
   * A pod's first byte came `ms` after the request went out; the rest is what was there at its booking. `isAlone`: no
   * other prompt was to be computed before.
   */
  learn(
    ref: PodRef,
    tokensAhead: number,
    requests: number,
    kvUse: number,
    ms: number,
    isAlone = false,
  ): void {
    // Sums forget by parts: something absurd would be remembered for as long as it is large.
    const isSound = ms >= 0 && ms <= HOUR_MS && tokensAhead >= 0 && tokensAhead <= MOST_TOKENS
    if (!(isSound && requests >= 0 && requests <= MOST_REQUESTS && kvUse >= 0 && kvUse <= 1)) return
    const own = this.#own
    const at = slotOf(ref) * WORDS
    if (own[at] !== ref) {
      own.fill(0, at, at + WORDS)
      own[at] = ref
    }
    for (let i = at + 1; i < at + WORDS; i++) own[i] = (own[i] ?? 0) * MEMORY
    own[at + 1] = (own[at + 1] ?? 0) + 1
    const x = this.features(tokensAhead, requests, kvUse)
    let product = at + OF_PRODUCTS
    for (let i = 0; i < FEATURES; i++) {
      for (let j = i; j < FEATURES; j++) {
        own[product] = (own[product] ?? 0) + (x[i] ?? 0) * (x[j] ?? 0)
        product++
      }
      own[at + OF_ANSWERS + i] = (own[at + OF_ANSWERS + i] ?? 0) + (x[i] ?? 0) * ms
    }
    if (isAlone) this.#learnAlone(at + OF_ALONE, x[1] ?? 0, ms)
  }

  #learnAlone(at: number, tokens: number, ms: number): void {
    const own = this.#own
    own[at] = (own[at] ?? 0) + 1
    own[at + 1] = (own[at + 1] ?? 0) + tokens
    own[at + 2] = (own[at + 2] ?? 0) + ms
    own[at + 3] = (own[at + 3] ?? 0) + tokens * tokens
    own[at + 4] = (own[at + 4] ?? 0) + tokens * ms
  }

  /** By a line through what all the pods' prompts took. */
  override aloneMs({ slots, length }: Pool, view: Pick<PodView, 'bySlot'>, tokens: number): number {
    const [all, rowWords] = [this.#all, this.#rowWords]
    let count = 0
    let sum = 0
    let sumMs = 0
    let squares = 0
    let products = 0
    for (let i = 0; i < length; i++) {
      const slot = slots[i] ?? 0
      const ref = view.bySlot(slot)?.ref
      for (let at = slot * WORDS; at < all.length; at += rowWords) {
        if (all[at] !== ref) continue
        const from = at + OF_ALONE
        count += all[from] ?? 0
        sum += all[from + 1] ?? 0
        sumMs += all[from + 2] ?? 0
        squares += all[from + 3] ?? 0
        products += all[from + 4] ?? 0
      }
    }
    if (!(count >= ENOUGH_ALONE && sum > 0)) return -1
    const mean = sum / count
    const meanMs = sumMs / count
    const variance = squares / count - mean * mean
    const thousands = tokens / 1000
    // Of equal lengths nothing can be told but that those of this length take so long; others by the length.
    if (!(variance > (LEAST_SPREAD * mean) ** 2)) return meanMs * (thousands / mean)
    const slope = Math.max(0, (products / count - mean * meanMs) / variance)
    return Math.max(0, meanMs + slope * (thousands - mean))
  }

  override expire(): void {
    super.expire()
    this.#solvedAt.fill(Number.NEGATIVE_INFINITY)
  }

  /** Solves again what was not solved lately. */
  protected override refresh(ref: PodRef): void {
    const slot = slotOf(ref)
    const now = this.now()
    const age = now - (this.#solvedAt[slot] ?? 0)
    if (this.#solvedFor[slot] === ref && age < FRESH_MS && age >= 0) return
    this.#solvedFor[slot] = ref
    this.#solvedAt[slot] = now
    this.#solve(ref, slot)
  }

  #solve(ref: PodRef, slot: number): void {
    const sums = this.#sums.fill(0)
    for (let row = 0; row < this.#rows; row++) {
      const at = row * this.#rowWords + slot * WORDS
      if (this.#all[at] !== ref) continue
      for (let i = 1; i < WORDS; i++) sums[i] = (sums[i] ?? 0) + (this.#all[at + i] ?? 0)
    }
    const at = slot * FEATURES
    const { weights } = this
    const count = sums[1] ?? 0
    // Σ1·tokens and Σtokens² stand at places 1 and FEATURES of the triangle.
    const mean = (sums[OF_PRODUCTS + 1] ?? 0) / count
    const variance = (sums[OF_PRODUCTS + FEATURES] ?? 0) / count - mean * mean
    if (!(count >= ENOUGH && variance >= LEAST_VARIANCE)) {
      weights.fill(Number.NaN, at, at + FEATURES)
      return
    }
    solve(sums, weights, at)
    // More work never makes an answer earlier: such a slope is chance. What it took off moves into the constant, so that
    // the answers are right on average again: the constant is Σ(y − w·x) / count.
    let rest = sums[OF_ANSWERS] ?? 0
    for (let i = 1; i < FEATURES; i++) {
      weights[at + i] = Math.max(0, weights[at + i] ?? 0)
      rest -= (weights[at + i] ?? 0) * (sums[OF_PRODUCTS + i] ?? 0)
    }
    weights[at] = rest / count
    // To the nanosecond, which is short to write down with a decision.
    for (let i = at; i < at + FEATURES; i++) weights[i] = Math.round((weights[i] ?? 0) * 1e6) / 1e6
  }
}

// One per thread, as each worker loads its own copy of the module; used within one synchronous call only.
const factor = new Float64Array(FEATURES * FEATURES)

/** Solves (Σxxᵀ + ridge) w = Σxy by Cholesky's decomposition. */
function solve(sums: Float64Array, out: Float64Array, at: number): void {
  let product = OF_PRODUCTS
  for (let i = 0; i < FEATURES; i++) {
    for (let j = i; j < FEATURES; j++) {
      // The constant is not pulled: it is what the rest is measured from.
      const ridge = i === j && i > 0 ? RIDGE : 0
      factor[j * FEATURES + i] = (sums[product++] ?? 0) + ridge
    }
  }
  for (let j = 0; j < FEATURES; j++) {
    for (let k = 0; k < j; k++) {
      const scale = factor[j * FEATURES + k] ?? 0
      for (let i = j; i < FEATURES; i++)
        factor[i * FEATURES + j] = (factor[i * FEATURES + j] ?? 0) - scale * (factor[i * FEATURES + k] ?? 0)
    }
    const pivot = Math.sqrt(Math.max(factor[j * FEATURES + j] ?? 0, 1e-9))
    for (let i = j; i < FEATURES; i++) factor[i * FEATURES + j] = (factor[i * FEATURES + j] ?? 0) / pivot
  }
  for (let i = 0; i < FEATURES; i++) {
    let value = sums[OF_ANSWERS + i] ?? 0
    for (let k = 0; k < i; k++) value -= (factor[i * FEATURES + k] ?? 0) * (out[at + k] ?? 0)
    out[at + i] = value / (factor[i * FEATURES + i] ?? 1)
  }
  for (let i = FEATURES - 1; i >= 0; i--) {
    let value = out[at + i] ?? 0
    for (let k = i + 1; k < FEATURES; k++) value -= (factor[k * FEATURES + i] ?? 0) * (out[at + k] ?? 0)
    out[at + i] = value / (factor[i * FEATURES + i] ?? 1)
  }
}

/** A model that learns on one thread alone: for tests, and for whoever runs one. */
export function ownLatencyModel(now: () => number, width: number = MAX_SLOTS): LatencyModel {
  return new LatencyModel(createLatencyMemory(width, 1), 0, now)
}
