/**
 * Selector: one use of a profile over a pool. The profile ranks pods from a snapshot; booking checks the truth. What
 * comes out is a Lease, or why there is none.
 */
import type { LaneView } from '../data/lane-view.js'
import type { LatencyModel } from '../data/latency-model.js'
import {
  BOOK,
  BOOKED,
  BOOKED_WORDS,
  isPodRef,
  type Lane,
  MAX_SLOTS,
  OUTCOME,
  REFUSED,
  slotOf,
} from '../data/native.js'
import type { PodInfo, PodView, Pool } from '../data/pod-view.js'
import type { CompiledProfile } from '../decision/compile.js'
import type { RoutingContext } from '../decision/context.js'
import type { Refusal } from '../decision/plugin.js'
import { Ranking } from '../decision/ranking.js'
import { type LatencySample, Lease } from './lease.js'

/** What execution needs of a compiled profile. */
export type SelectingProfile = Pick<CompiledProfile, 'name' | 'bookFlags' | 'prepare' | 'select'> &
  Partial<Pick<CompiledProfile, 'booked'>>

/**
 * Rankings tried. A booking is refused only by a race with other threads; all fall-backs refused means that the
 * snapshot was stale, and a second look is worth its microseconds. A third would only fight over the last places.
 */
const ROUNDS = 2

/** Who learns from the pods' answers, and where the loads at their booking are seen. */
export interface Learning {
  readonly lane: LaneView
  readonly latency: LatencyModel
}

/** One per worker; its arrays are reused, since a selection never awaits. */
export class Selector {
  readonly #ranking = new Ranking()
  readonly #booked = new Uint32Array(BOOKED_WORDS)
  readonly #untried = { slots: new Uint16Array(MAX_SLOTS), length: 0 }
  /** Why the last round of bookings came to nothing. */
  #refusal: Refusal = 'no_pod'

  constructor(
    private readonly native: Lane,
    private readonly pods: PodView,
    private readonly learning?: Learning,
  ) {}

  /** What has been learned of the pods' times to the first byte. */
  get latency(): LatencyModel | undefined {
    return this.learning?.latency
  }

  /**
   * Books the best pod of the pool that is not among the slots tried before. Throws what a plugin throws. `flags`: BOOK
   * flags, the profile's own unless given.
   */
  acquire(
    ctx: RoutingContext,
    profile: SelectingProfile,
    pool: Pool,
    tried: readonly number[],
    flags = profile.bookFlags,
  ): Lease | Refusal {
    const version = pool === ctx.pool ? ctx.poolVersion : Number.POSITIVE_INFINITY
    const isWhole = tried.length === 0 && this.pods.version <= version
    const candidates = isWhole ? pool : this.#without(pool, tried, version)
    for (let round = 0; round < ROUNDS; round++) {
      const outcome = profile.select(ctx, candidates, this.#ranking, ctx.trace)
      if (outcome !== 'picked') return outcome
      const lease = this.#bookFirst(ctx, flags, candidates)
      if (lease !== undefined) {
        profile.booked?.(ctx, slotOf(lease.ref))
        return lease
      }
    }
    return this.#refusal
  }

  #bookFirst(ctx: RoutingContext, flags: number, candidates: Pool): Lease | undefined {
    this.#refusal = 'no_pod'
    const { slots, length } = this.#ranking
    for (let i = 0; i < length; i++) {
      const pod = this.pods.bySlot(slots[i] ?? MAX_SLOTS)
      if (pod === undefined) continue
      const lease = this.#book(ctx, pod, flags, candidates)
      if (lease !== undefined) return lease
    }
    return undefined
  }

  #book(ctx: RoutingContext, wanted: PodInfo, flags: number, candidates: Pool): Lease | undefined {
    const ref = this.#bookNative(ctx, wanted, flags)
    if (!isPodRef(ref)) return undefined
    if (ref === wanted.ref) return this.#lease(wanted)
    // Another thread claimed the session for another pod first. That one is right, unless it is no candidate here:
    // this request has failed there already, or the step may not use it.
    const claimed = this.pods.byRef(ref)
    const isCandidate = claimed !== undefined && contains(candidates, slotOf(ref))
    if (isCandidate && claimed.maxInflight === wanted.maxInflight) return this.#lease(claimed)
    this.native.release(ref, this.#pendingTokens, this.#activeTokens, OUTCOME.cancelled)
    // It was booked within the wanted pod's limit; its own is another.
    if (isCandidate && this.#bookNative(ctx, claimed, flags) === ref) return this.#lease(claimed)
    const unclaimed = this.#bookNative(ctx, wanted, flags & ~BOOK.claimSession)
    return isPodRef(unclaimed) ? this.#lease(wanted) : undefined
  }

  #bookNative(ctx: RoutingContext, pod: PodInfo, flags: number): number {
    const code = this.native.book(
      ctx.ticket,
      pod.ref,
      tighter(ctx.bound, pod.maxInflight),
      flags,
      this.#booked,
    )
    // Waiting helps against these two.
    if (code === REFUSED.full || code === REFUSED.circuitOpen) this.#refusal = 'overloaded'
    return code
  }

  #lease(pod: PodInfo): Lease {
    const uncached = this.#pendingTokens
    const sample = this.#sample(slotOf(pod.ref), uncached)
    return new Lease(this.native, pod, pod.ref, uncached, this.#activeTokens, sample)
  }

  get #pendingTokens(): number {
    return this.#booked[BOOKED.pendingTokens] ?? 0
  }

  get #activeTokens(): number {
    return this.#booked[BOOKED.activeTokens] ?? 0
  }

  /** The lane's columns are still those of the selection that has just been made. */
  #sample(slot: number, uncached: number): LatencySample | undefined {
    if (this.learning === undefined) return undefined
    const { lane, latency: model } = this.learning
    const tokensAhead = (lane.pendingTokens[slot] ?? 0) + uncached
    return { model, tokensAhead, requests: lane.requests[slot] ?? 0, kvUse: lane.kvUse[slot] ?? 0 }
  }

  /** The pool without the slots tried, and without those that got another pod after that version of the fleet. */
  #without(pool: Pool, tried: readonly number[], version: number): Pool {
    const untried = this.#untried
    untried.length = 0
    for (let i = 0; i < pool.length; i++) {
      const slot = pool.slots[i] ?? MAX_SLOTS
      if (tried.includes(slot) || this.pods.since(slot) > version) continue
      untried.slots[untried.length++] = slot
    }
    return untried
  }
}

/** The lower of two bounds of which 0 is none. */
function tighter(a: number, b: number): number {
  if (a === 0) return b
  return b === 0 ? a : Math.min(a, b)
}

function contains(pool: Pool, slot: number): boolean {
  for (let i = 0; i < pool.length; i++) if (pool.slots[i] === slot) return true
  return false
}
