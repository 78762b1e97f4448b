/**
 * A booking on a pod, given back exactly once however the request ends. Load that leaks is never seen again: the pod
 * looks busy for ever, so every way out of a request goes through `release`, and only the first one counts.
 */
import type { LatencyModel } from '../data/latency-model.js'
import type { Lane, OUTCOME, PodRef } from '../data/native.js'
import type { PodInfo } from '../data/pod-view.js'

/** A time that the native core takes for none. */
const NO_SAMPLE = -1

export type LeaseOutcome = (typeof OUTCOME)[keyof typeof OUTCOME]

/** What a pod had to do when it was booked, for the model of its latency. */
export interface LatencySample {
  readonly model: LatencyModel
  /** Uncached prompt tokens before the first byte, the request's own among them. */
  readonly tokensAhead: number
  readonly requests: number
  readonly kvUse: number
}

/**
 * Answer tokens that are told to the native state at once: those of a block. A call for each would cost a stream of 1,000
 * tokens as much as all else that is done for its request, and what is left untold is less than a block.
 */
const TOLD_AT_ONCE = 16

export class Lease {
  #answered = false
  #released = false
  #prefilled = false
  /** Tokens counted on the pod, and those of the answer that are not yet. */
  #activeTokens: number
  #untold = 0

  /**
   * `uncachedTokens`: the prompt tokens that the pod was not expected to have cached, `activeTokens`: all of them, as the
   * booking counted them.
   */
  constructor(
    private readonly lane: Lane,
    readonly pod: PodInfo,
    readonly ref: PodRef,
    readonly uncachedTokens: number,
    activeTokens: number,
    private readonly sample?: LatencySample,
  ) {
    this.#activeTokens = activeTokens
  }

  get released(): boolean {
    return this.#released
  }

  get isPrefilledElsewhere(): boolean {
    return this.#prefilled
  }

  /** The answer's first byte came `ms` after the request went out: a latency sample, and its prompt is computed. */
  firstByte(ms: number): void {
    if (this.#prefilled || this.#answered || this.#released) return
    this.#answered = true
    this.lane.firstByte(this.ref, ms, this.uncachedTokens)
    this.#learn(ms)
  }

  /**
   * Another pod computes the prompt: none of it waits here, and what the first byte takes is no sample of this pod's
   * prefill.
   */
  prefilledElsewhere(): void {
    if (this.#prefilled || this.#answered || this.#released) return
    this.#prefilled = true
    this.lane.firstByte(this.ref, NO_SAMPLE, this.uncachedTokens)
  }

  /**
   * The answer to a prefill alone came after `ms`: a sample for the model of the pod's latency. The breaker's average is
   * left alone; it compares pods, and those that prefill would look sick beside those that decode.
   */
  prefillDone(ms: number): void {
    if (this.#prefilled || this.#answered || this.#released) return
    this.#answered = true
    this.lane.firstByte(this.ref, NO_SAMPLE, this.uncachedTokens)
    this.#learn(ms)
  }

  /** The answer has grown by a token, which the pod's KV cache holds until the end. */
  token(): void {
    if (++this.#untold < TOLD_AT_ONCE || this.#released) return
    this.lane.grow(this.ref, this.#untold)
    this.#activeTokens += this.#untold
    this.#untold = 0
  }

  release(outcome: LeaseOutcome): void {
    if (this.#released) return
    this.#released = true
    const isFreed = this.#answered || this.#prefilled
    this.lane.release(this.ref, isFreed ? 0 : this.uncachedTokens, this.#activeTokens, outcome)
  }

  #learn(ms: number): void {
    const { sample } = this
    if (sample === undefined) return
    const { tokensAhead, requests, kvUse } = sample
    sample.model.learn(this.ref, tokensAhead, requests, kvUse, ms, tokensAhead <= this.uncachedTokens)
  }
}
