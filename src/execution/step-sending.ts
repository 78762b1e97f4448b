/**
 * The pods that a step is sent to: the one picked, the same once more where its connection was stale, and when it fails
 * before anything went to the client, the next best.
 */
import { OUTCOME, slotOf } from '../data/native.js'
import type { PodInfo } from '../data/pod-view.js'
import { selectionError } from '../decision/outcome.js'
import type { Refusal } from '../decision/plugin.js'
import { type ErrorCode, errorCatalogue, type PhylloError, toPhylloError } from '../errors.js'
import type { Lease, LeaseOutcome } from './lease.js'
import type { Relay } from './relay.js'
import { mayRetry } from './retry.js'
import type { Leg, StepHost } from './step-host.js'
import { LeasedStep } from './step-input.js'
import type { UpstreamHandler } from './upstream/handler.js'
import type { UpstreamRequest } from './upstream/request.js'
import type { Step } from './workflow.js'

const none: readonly number[] = []

/** What is done with the answers is the subclass's: one object, since each request has one. */
export abstract class StepSending implements Leg, UpstreamHandler {
  attempts = 0
  protected lease: Lease | undefined
  protected upstream: UpstreamRequest | undefined
  /** The prompt went out as token ids. */
  protected asTokens = false
  #tried: number[] | undefined
  #sentAt = 0
  /** The pod got a second chance because its connection was stale. */
  #resent = false

  constructor(
    protected readonly host: StepHost,
    readonly step: Step,
  ) {}

  get pod(): PodInfo | undefined {
    return this.lease?.pod
  }

  get sentAt(): number {
    return this.#sentAt
  }

  start(): void {
    const lease = this.#acquire(this.host.tried ?? none)
    if (typeof lease === 'string') this.host.failed(selectionError(lease, this.host.ctx), false)
    else this.#sendTo(lease)
  }

  startOn(lease: Lease, attempts: number): void {
    this.attempts = attempts
    this.#sendTo(lease)
  }

  /**
   * Once more to the same pod, whose idle connection closed while the request was on its way. Once only: the pod may
   * as well have died of the request.
   */
  protected resend(): boolean {
    if (this.#resent || this.lease === undefined) return false
    this.#resent = true
    this.forgetAnswer()
    const lease = this.lease
    this.#again(() => this.#send(lease))
    return true
  }

  /** Goes on with the next best pod, if the retry rule and the fleet allow it. True: nothing is left to do here. */
  protected tryNext(cause: ErrorCode): boolean {
    try {
      return this.#goesOn(cause)
    } catch (error) {
      // A plugin of the selection. Most callers are a clock or a callback, above which it would end the worker.
      this.cancel(OUTCOME.failed)
      this.host.failed(toPhylloError(error), false, this)
      return true
    }
  }

  #acquire(tried: readonly number[]): Lease | Refusal {
    const { ctx, profile, parts } = this.host
    const pool = this.step.pool?.(ctx, parts.pods) ?? ctx.pool
    return parts.selector.acquire(ctx, profile, pool, tried)
  }

  #sendTo(lease: Lease): void {
    const { parts, ctx } = this.host
    this.lease = lease
    this.#resent = false
    this.attempts++
    if (this.attempts === 1) this.host.picked()
    parts.events.onPick(ctx, lease, this.attempts)
    this.#send(lease)
  }

  #send(lease: Lease): void {
    const { parts, ctx, options, peers } = this.host
    const request = this.step.request(
      new LeasedStep(ctx, lease, options.clientAddress, peers, this.step.name),
    )
    this.asTokens = request.asTokens
    this.#sentAt = parts.now()
    this.upstream = parts.client.open(lease.pod, request, this)
  }

  #goesOn(cause: ErrorCode): boolean {
    const failed = this.lease
    if (failed === undefined) return false
    if (this.host.takeOver !== undefined) return this.host.takeOver(this, cause)
    if (!mayRetry(errorCatalogue[cause], this.step.onFailure, this.attempts)) return false
    this.#tried ??= [...(this.host.tried ?? none)]
    this.#tried.push(slotOf(failed.ref))
    const next = this.#acquire(this.#tried)
    if (typeof next === 'string') return false
    failed.release(OUTCOME.failed)
    this.upstream?.discard()
    this.forgetAnswer()
    this.lease = next
    this.host.parts.events.onRetry(this.host.ctx, failed.pod, cause)
    this.#again(() => this.#sendTo(next))
    return true
  }

  /** Sends from a callback of the client, above which nobody would catch what a step's request transform throws. */
  #again(send: () => void): void {
    try {
      send()
    } catch (error) {
      this.cancel(OUTCOME.cancelled)
      this.host.failed(toPhylloError(error), false, this)
    }
  }

  abstract readonly status: number
  abstract readonly answered: boolean
  abstract readonly over: boolean
  abstract readonly relay: Relay | undefined
  abstract cancel(outcome: LeaseOutcome): void
  abstract letGo(): void
  abstract expire(): void
  abstract onHead(status: number, raw: readonly Buffer[]): void
  abstract onChunk(chunk: Buffer): boolean
  abstract onEnd(): void
  abstract onFault(error: PhylloError, stale: boolean): void
  /** What came of an answer is nothing: another one comes. */
  protected abstract forgetAnswer(): void
}
