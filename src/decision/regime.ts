/**
 * Whether pods that do all should be left to prefills, or answer like the others: by the demand as this router measures
 * it, and by what either way would make of it (regime-model.ts).
 *
 * Requests that arrive find what the time average is (Poisson arrivals see time averages, Wolff 1982), so that a look at
 * the pods' loads at each arrival is all it takes:
 *
 *     prefills  pods that have prompts to compute
 *     answers   requests that are answered, less those that are stalled, over what the others' context slows them by
 *
 * The second is the work done on answers in a unit of time, which does not depend on how long they take; while requests
 * have just begun to come, more is asked for than done, by half of each that is under way. Prompts that wait are counted
 * in tokens, whatever a prompt's length.
 *
 * Nothing is decided before `ENOUGH` answers are complete, and nothing changed before `dwellMs` after the last change:
 * what decodes on a pod that turns to prefills is stalled most. Until then the answer is `true`, which with a threshold
 * for short prompts is the fleet as its roles have it.
 */
import { answeredApart, companions, type Demand, slowdownApart, slowdownTogether } from './regime-model.js'

export interface RegimeOptions {
  /** Tokens of context whose reading takes as long as the rest of a step. */
  readonly weightTokens: number
  /** By how much the other way has to be faster; a part of the time per token. */
  readonly margin: number
  /** Least time between two changes. */
  readonly dwellMs: number
}

/** What an arrival finds on the model's pods; see PodSurvey. */
export interface Found {
  /** Pods that answer: all of them, and those of them that do nothing else. */
  readonly pods: number
  readonly alone: number
  /** Pods that could prefill for those. */
  readonly prefillers: number
  /** Pods with prompts to compute. */
  readonly prefilling: number
  /** Uncached prompt tokens that are to be computed. */
  readonly pendingTokens: number
  /** Bookings: of a request that is split two while its prompt is computed, else one. */
  readonly bookings: number
  /** Tokens that those hold in the pods' caches. */
  readonly heldTokens: number
  /** Tokens that a pod's cache has room for; 0: not known. */
  readonly roomTokens: number
}

/** Arrivals over which means are taken: a fleet's load is then known to a tenth, where prompts take it seconds. */
const REMEMBERED = 192
/** Arrivals before which nothing is decided, and answers that are to be complete by then: by how long those took. */
const ENOUGH = 32
const COMPLETE = 8
/** Arrivals from one comparison to the next, which takes some microseconds. */
const EVERY = 8
/**
 * Of requests held at a time over those that fit, where the decode pods alone are too few. Full pods queue, but read no more
 * than fits, which the estimate of who is held does not know: at the point where they are just full it is a fifth too high.
 */
const OVERFULL = 1.4
/** Prompts that wait per prefill pod where those are too few. A burst of a pod's worth of answers stays below it. */
const OVERDUE = 8

export class Regime {
  readonly #options: RegimeOptions
  #isApart = true
  #decidedAt = Number.NEGATIVE_INFINITY
  #arrivals = 0
  #underway = 0
  // Means over the arrivals remembered.
  #prefills = 0
  #waiting = 0
  #answers = 0
  #heldEach = 0
  #uncached = 0
  /** Growth of what is under way per arrival. */
  #growth = 0

  constructor(options: RegimeOptions) {
    this.#options = options
  }

  /** Whether prefills and answers are kept apart. */
  get isApart(): boolean {
    return this.#isApart
  }

  /** What is asked for, by what was seen; undefined: too little was. */
  demand(): Demand | undefined {
    const isKnown = this.#arrivals >= ENOUGH && this.#arrivals - this.#underway >= COMPLETE
    if (!isKnown || this.#prefills === 0) return undefined
    const answers = this.#answers / Math.max(0.5, 1 - this.#growth / 2)
    return { prefills: this.#prefills, answers, held: this.#heldEach / this.#options.weightTokens }
  }

  /** A request has arrived, with a prompt of so many uncached tokens. `now`: milliseconds that only grow. */
  arrived(found: Found, uncachedTokens: number, now: number): void {
    this.#learn(found, uncachedTokens)
    if (this.#arrivals % EVERY === 0) this.#decide(found, now)
  }

  #learn(found: Found, uncachedTokens: number): void {
    const { pods, alone, prefilling, pendingTokens, bookings, heldTokens, roomTokens } = found
    this.#arrivals++
    const part = 1 / Math.min(this.#arrivals, REMEMBERED)
    this.#uncached += (uncachedTokens - this.#uncached) * part
    const waiting = pendingTokens / Math.max(1, this.#uncached)
    // While a prompt is computed apart, its request has a place on a decode pod too.
    const requests = Math.max(0, this.#isApart ? bookings - waiting : bookings)
    const each = bookings > 0 ? heldTokens / bookings : this.#heldEach
    this.#heldEach += (each - this.#heldEach) * (this.#heldEach === 0 ? 1 : part)
    const on = this.#isApart ? alone : pods
    const fitting = roomTokens > 0 ? (on * roomTokens) / Math.max(1, each) : Number.POSITIVE_INFINITY
    const answered = Math.min(Math.max(0, requests - waiting), fitting)
    const stalled = this.#isApart ? 0 : Math.min(answered, prefilling * Math.floor(requests / pods))
    const slowdown = 1 + (each / this.#options.weightTokens) * (1 + companions(answered, on))
    this.#prefills += (prefilling - this.#prefills) * part
    this.#waiting += (waiting - this.#waiting) * part
    this.#answers += ((answered - stalled) / slowdown - this.#answers) * part
    this.#growth += (requests - this.#underway - this.#growth) * part
    this.#underway = requests
  }

  #decide({ pods, alone, prefillers, roomTokens }: Found, now: number): void {
    const demand = this.demand()
    const { margin, dwellMs } = this.#options
    if (demand === undefined || now - this.#decidedAt < dwellMs) return
    const gain = slowdownTogether(demand, pods) / slowdownApart(demand, alone) - 1
    let isApart = this.#isApart
    if (this.#isOverfull(demand, alone, roomTokens) || this.#waiting > OVERDUE * prefillers) isApart = false
    else if (gain > margin || gain < -margin) isApart = gain > margin
    if (isApart !== this.#isApart) this.#decidedAt = now
    this.#isApart = isApart
  }

  /** Whether the decode pods alone have no room for all that are answered at a time. */
  #isOverfull(demand: Demand, alone: number, roomTokens: number): boolean {
    if (roomTokens === 0) return false
    return answeredApart(demand, alone) * this.#heldEach > OVERFULL * alone * roomTokens
  }
}
