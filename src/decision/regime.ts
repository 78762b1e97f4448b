/**
 * Whether pods that do all should be left to prefills, or answer like the others: by the demand as this router measures
 * it, and by what either way would make of it (regime-model.ts).
 *
 *     prefills  arrivals per millisecond · what such a prompt takes a pod that has no other to compute
 *     answers   requests that are answered, less those that are stalled, over what the others' context slows them by
 *
 * What a prompt takes is learned (LatencyModel.aloneMs); before it is, pods that have prompts to compute are counted. The
 * second is the work done on answers in a unit of time, which does not depend on how long they take; it is what arrivals
 * find, which is the time average (Poisson arrivals see time averages, Wolff 1982). While requests have just begun to come,
 * more is asked for than done, by half of each that is under way. Requests whose prompt waits are told from those that
 * are answered by the tokens that wait, over the mean of what comes.
 *
 * Nothing is decided before enough was seen, and nothing changed before `dwellMs` after the last change: what decodes on
 * a pod that turns to prefills is stalled most. Until then they are apart, which is the fleet as its roles have it.
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
  /** Bookings: two of a request whose prompt is computed apart, while it is, else one. */
  readonly bookings: number
  /** Tokens that those hold in the pods' caches. */
  readonly heldTokens: number
  /** Tokens that a pod's cache has room for; 0: not known. */
  readonly roomTokens: number
  /** The arriving request's uncached prompt. */
  readonly uncachedTokens: number
  /** Milliseconds that it would take a pod that has nothing else to compute; -1: not known. */
  readonly prefillMs: number
  /** Requests for the model that came before it, to all threads; wraps at 2^31 to below zero. */
  readonly arrivals: number
}

/** Arrivals over which means are taken: a fleet's load is then known to a tenth. */
const REMEMBERED = 192
/** Arrivals before which nothing is decided, and answers that are to be complete by then: by how long those took. */
const ENOUGH = 32
const COMPLETE = 8
/** Arrivals from one comparison to the next, which takes some microseconds. */
const EVERY = 8
/**
 * Longest time between two arrivals that counts, ms. Over the arrivals remembered it is a third of a second each, which
 * any traffic that keeps a pod busy has undone in as many; a night without requests would be low load for a thousand.
 */
const LONGEST_GAP = 60_000
/** Requests over those that decode pods alone have room for, where these are too few: as many wait as are answered. */
const OVERFULL = 2
/** Prompts that wait per prefill pod where those are too few. */
const OVERDUE = 8

export class Regime {
  readonly #options: RegimeOptions
  #isApart = true
  #decidedAt = Number.NEGATIVE_INFINITY
  #arrivals = 0
  #underway = 0
  #latestAt = 0
  #latestCount = 0
  // Means over the arrivals remembered; of all threads' arrivals, and of the time, per arrival here.
  #counted = 0
  #elapsed = 0
  #prefillMs = 0
  #prefilling = 0
  #waiting = 0
  #answers = 0
  #heldEach = 0
  #uncached = 0
  /** Growth of what is under way. */
  #growth = 0
  /** What is held on decode pods alone, or would be, over what they have room for. */
  #fullness = 0

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
    const prefills =
      this.#prefillMs > 0 ? (this.#prefillMs * this.#counted) / Math.max(1, this.#elapsed) : this.#prefilling
    if (!isKnown || prefills === 0) return undefined
    const answers = this.#answers / Math.max(0.5, 1 - this.#growth / 2)
    return { prefills, answers, held: this.#heldEach / this.#options.weightTokens }
  }

  /** A request has arrived. `now`: milliseconds that only grow. */
  arrived(found: Found, now: number): void {
    this.#arrivals++
    this.#learnRate(found, now)
    this.#learnAnswers(found)
    if (this.#arrivals % EVERY !== 0) return
    const demand = this.demand()
    if (demand === undefined) return
    this.#learnFullness(found, demand)
    this.#decide(found, demand, now)
  }

  #learnRate({ arrivals, uncachedTokens, prefillMs, prefilling }: Found, now: number): void {
    const part = 1 / Math.min(this.#arrivals, REMEMBERED)
    if (this.#arrivals > 1) {
      const since = 1 / Math.min(this.#arrivals - 1, REMEMBERED)
      const gap = now - this.#latestAt
      const share = gap > LONGEST_GAP ? LONGEST_GAP / gap : 1
      // Differences of what wraps at 2^31, as the count does.
      this.#counted += (((arrivals - this.#latestCount) | 0) * share - this.#counted) * since
      this.#elapsed += (gap * share - this.#elapsed) * since
    }
    this.#latestAt = now
    this.#latestCount = arrivals
    this.#uncached += (uncachedTokens - this.#uncached) * part
    this.#prefilling += (prefilling - this.#prefilling) * part
    if (prefillMs > 0) this.#prefillMs += (prefillMs - this.#prefillMs) * (this.#prefillMs === 0 ? 1 : part)
  }

  #learnAnswers(found: Found): void {
    const part = 1 / Math.min(this.#arrivals, REMEMBERED)
    const { pods, alone, prefilling, pendingTokens, bookings, heldTokens, roomTokens } = found
    const waiting = pendingTokens / Math.max(1, this.#uncached)
    // While a prompt is computed apart, its request has a place on a decode pod too.
    const requests = Math.max(0, this.#isApart ? bookings - waiting : bookings)
    const each = bookings > 0 ? heldTokens / bookings : this.#heldEach
    this.#heldEach += (each - this.#heldEach) * (this.#heldEach === 0 ? 1 : part)
    const on = this.#isApart ? alone : pods
    const room = roomTokens > 0 ? (on * roomTokens) / Math.max(1, each) : Number.POSITIVE_INFINITY
    const answered = Math.min(Math.max(0, requests - waiting), room)
    const stalled = this.#isApart ? 0 : Math.min(answered, prefilling * Math.floor(requests / pods))
    const slowdown = 1 + (each / this.#options.weightTokens) * (1 + companions(answered, on))
    this.#waiting += (waiting - this.#waiting) * part
    this.#answers += ((answered - stalled) / slowdown - this.#answers) * part
    this.#growth += (requests - this.#underway - this.#growth) * part
    this.#underway = requests
  }

  /** Who waits for room is seen where they are apart, and else is what the model expects. */
  #learnFullness({ alone, roomTokens }: Found, demand: Demand): void {
    if (roomTokens === 0) {
      // What is not known any more is no reason to stay as one is.
      this.#fullness = 0
      return
    }
    const requests = this.#isApart
      ? Math.max(0, this.#underway - this.#waiting)
      : answeredApart(demand, alone)
    const fullness = (requests * this.#heldEach) / (alone * roomTokens)
    this.#fullness += (fullness - this.#fullness) * (EVERY / REMEMBERED)
  }

  #decide({ pods, alone, prefillers }: Found, demand: Demand, now: number): void {
    const { margin, dwellMs } = this.#options
    if (now - this.#decidedAt < dwellMs) return
    const gain = slowdownTogether(demand, pods) / slowdownApart(demand, alone) - 1
    let isApart = this.#isApart
    if (this.#fullness > OVERFULL || this.#waiting > OVERDUE * prefillers) isApart = false
    else if (gain > margin || gain < -margin) isApart = gain > margin
    if (isApart !== this.#isApart) this.#decidedAt = now
    this.#isApart = isApart
  }
}
