/**
 * What weights say of a pod's time to the first byte, wherever they come from: learned (latency-model.ts), or written
 * down with a decision (decision/record).
 *
 *     ms ≈ base + w1 · thousands of tokens ahead + w2 · tens of requests on the pod + w3 · KV use
 */
import { type PodRef, slotOf } from './native.js'
import type { PodView, Pool } from './pod-view.js'

/** 1, thousands of tokens, tens of requests, KV use: all of one order, which keeps the system well conditioned. */
export const FEATURES = 4
const TOKENS_UNIT = 1000
const REQUESTS_UNIT = 10

/** Milliseconds; of a pod whose time is known. */
export interface LatencyTerms {
  readonly base: number
  readonly per1000Tokens: number
  readonly per10Requests: number
  readonly perKvUse: number
}

export abstract class LatencyWeights {
  /** Goes up with `expire`: whoever keeps figures made of these makes them anew then. */
  epoch = 0
  /** By slot, FEATURES each; the first is NaN where nothing is known. */
  protected readonly weights: Float64Array
  readonly #x = new Float64Array(FEATURES)

  constructor(width: number) {
    this.weights = new Float64Array(width * FEATURES).fill(Number.NaN)
  }

  /** Makes `weights` those of the pod. */
  protected abstract refresh(ref: PodRef): void

  /** What is read from here on is of this moment: for decisions that are written down. */
  expire(): void {
    this.epoch++
  }

  /** Milliseconds to the first byte of a request with so much ahead of it; -1: not known yet. */
  predict(ref: PodRef, tokensAhead: number, requests: number, kvUse: number): number {
    this.refresh(ref)
    const at = slotOf(ref) * FEATURES
    const { weights } = this
    if (Number.isNaN(weights[at] ?? Number.NaN)) return -1
    const x = this.features(tokensAhead, requests, kvUse)
    let ms = 0
    for (let i = 0; i < FEATURES; i++) ms += (weights[at + i] ?? 0) * (x[i] ?? 0)
    return Math.max(0, ms)
  }

  /** Milliseconds that a token ahead costs on the pod; -1: not known yet. */
  msPerToken(ref: PodRef): number {
    this.refresh(ref)
    const at = slotOf(ref) * FEATURES
    const slope = this.weights[at + 1] ?? 0
    return Number.isNaN(this.weights[at] ?? Number.NaN) || slope <= 0 ? -1 : slope / TOKENS_UNIT
  }

  /** Milliseconds by which each request on the pod delays the next first byte; -1: not known yet. */
  msPerRequest(ref: PodRef): number {
    this.refresh(ref)
    const at = slotOf(ref) * FEATURES
    const slope = this.weights[at + 2] ?? 0
    return Number.isNaN(this.weights[at] ?? Number.NaN) ? -1 : slope / REQUESTS_UNIT
  }

  /**
   * Milliseconds that a prompt of so many uncached tokens takes one of these pods that has no other to compute, decoding
   * beside it as pods do; -1: not known.
   */
  aloneMs(_pods: Pool, _view: Pick<PodView, 'bySlot'>, _tokens: number): number {
    return -1
  }

  /** All of the pod's weights, for whoever writes them down; null: not known yet. */
  terms(ref: PodRef): LatencyTerms | null {
    this.refresh(ref)
    const at = slotOf(ref) * FEATURES
    const [base = Number.NaN, per1000Tokens = 0, per10Requests = 0, perKvUse = 0] = this.weights.subarray(
      at,
      at + FEATURES,
    )
    return Number.isNaN(base) ? null : { base, per1000Tokens, per10Requests, perKvUse }
  }

  /** The same array on every call. */
  protected features(tokensAhead: number, requests: number, kvUse: number): Float64Array {
    const x = this.#x
    x[0] = 1
    x[1] = tokensAhead / TOKENS_UNIT
    x[2] = requests / REQUESTS_UNIT
    x[3] = kvUse
    return x
  }
}
