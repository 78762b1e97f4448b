/**
 * One step of a request under way: pick a pod, send, look at the head of the answer, then relay or keep it; and when
 * the pod fails before anything went to the client, the same on the next best pod.
 */
import { OUTCOME, type PodRef, slotOf } from '../data/native.js'
import type { PodInfo, PodView } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import { selectionError } from '../decision/outcome.js'
import type { Refusal } from '../decision/plugin.js'
import { type ErrorCode, errorCatalogue, type PhylloError, toPhylloError } from '../errors.js'
import type { Answers } from './answers.js'
import { Collector } from './collector.js'
import type { ExecutionEvents } from './events.js'
import type { Lease, LeaseOutcome } from './lease.js'
import { Relay } from './relay.js'
import { ResponseIdScanner } from './response-id.js'
import { isPodFailure, mayRetry } from './retry.js'
import type { SelectingProfile, Selector } from './selector.js'
import type { ClientSink } from './sink.js'
import { LeasedStep } from './step-input.js'
import type { UpstreamClient } from './upstream/client.js'
import type { UpstreamHandler } from './upstream/handler.js'
import type { UpstreamRequest } from './upstream/request.js'
import type { Step, StepResult } from './workflow.js'

/** What a request may bring along besides its context. */
export interface ExecuteOptions {
  /** The client's address as text, for `x-forwarded-for`; empty if unknown. */
  readonly clientAddress: string
  /** Called with the id of a Responses API answer, once it is seen, and the pod that gave it. */
  readonly onResponseId?: ((id: string, pod: PodRef) => void) | undefined
}

/** What the steps of all requests of a worker use. */
export interface ExecutionParts {
  readonly selector: Selector
  readonly pods: PodView
  readonly client: UpstreamClient
  readonly events: ExecutionEvents
  /** Reads the answers that are relayed; absent: nobody does. */
  readonly answers?: Answers | undefined
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number
}

/** The request that a step belongs to. */
export interface StepHost {
  readonly parts: ExecutionParts
  readonly ctx: RoutingContext
  readonly profile: SelectingProfile
  readonly sink: ClientSink
  readonly options: ExecuteOptions
  readonly results: ReadonlyMap<string, StepResult>
  /** A pod was booked. */
  picked(): void
  /** The first byte of the answer that goes to the client is here. */
  answering(): void
  /** The step's answer was kept. */
  kept(step: Step, result: StepResult): void
  /** An answer went to the client, whole; `podFailed`: it is the 5xx of a pod. */
  relayed(podFailed: boolean): void
  /** The step failed. `begun`: part of an answer went out, and its relay has ended it. */
  failed(error: PhylloError, begun: boolean): void
}

const none: readonly number[] = []

export class StepRun implements UpstreamHandler {
  /** Pods sent to. */
  attempts = 0
  relay: Relay | undefined
  readonly #host: StepHost
  readonly #step: Step
  #lease: Lease | undefined
  #upstream: UpstreamRequest | undefined
  #collector: Collector | undefined
  #tried: number[] | undefined
  #sentAt = 0
  #status = 0
  #answered = false
  /** The prompt went out as token ids. */
  #asTokens = false
  /** The pod got a second chance because its connection was stale. */
  #resent = false

  constructor(host: StepHost, step: Step) {
    this.#host = host
    this.#step = step
  }

  /** The pod that has the request, or had it last. */
  get pod(): PodInfo | undefined {
    return this.#lease?.pod
  }

  start(): void {
    const lease = this.#acquire(none)
    if (typeof lease === 'string') this.#host.failed(selectionError(lease, this.#host.ctx), false)
    else this.#sendTo(lease)
  }

  /** Ends the step from outside: the connection is closed at once, the booking given back. */
  cancel(outcome: LeaseOutcome): void {
    this.#upstream?.abort()
    this.#lease?.release(outcome)
    this.relay?.reader?.cut()
  }

  onHead(status: number, raw: readonly Buffer[]): void {
    this.#status = status
    if (isPodFailure(status) && this.#tryNext('pod_error')) return
    const { ctx, sink, options, parts } = this.#host
    const lease = this.#lease
    const upstream = this.#upstream
    if (lease === undefined || upstream === undefined) return
    if (this.#step.output === 'buffer' && status < 400) {
      this.#collector = new Collector(lease.pod, status, raw)
      return
    }
    const note = ctx.request.kind === 'responses' && status < 300 ? options.onResponseId : undefined
    const scanner = note && new ResponseIdScanner(id => note(id, lease.ref))
    this.relay = new Relay(sink, upstream, status, raw, lease.pod.id, ctx.request.id, scanner)
    this.relay.reader = parts.answers?.open(ctx, lease, this.relay, this.#asTokens)
  }

  onChunk(chunk: Buffer): boolean {
    if (!this.#answered) this.#firstByte()
    const { relay } = this
    if (relay === undefined) return this.#collector?.chunk(chunk) ?? true
    // Engines send an event a token and a piece an event, which undici passes on piece by piece. Where something between
    // joins them, or a step of the engine makes several tokens, fewer are counted than there are; in an answer that comes
    // as a whole, none. That is the same on all pods, and of most requests the prompt is by far the greater part.
    if (relay.events) this.#lease?.token()
    return relay.chunk(chunk)
  }

  onEnd(): void {
    if (!this.#answered) this.#firstByte()
    const podFailed = isPodFailure(this.#status)
    this.#lease?.release(podFailed ? OUTCOME.failed : OUTCOME.ok)
    if (this.relay !== undefined) {
      this.relay.end()
      this.relay.reader?.done()
      this.#host.relayed(podFailed)
    } else if (this.#collector !== undefined) this.#host.kept(this.#step, this.#collector.result())
  }

  onFault(error: PhylloError, stale: boolean): void {
    const begun = this.relay?.begun === true
    this.relay?.reader?.drop()
    if (!begun) {
      if (stale && this.#resend()) return
      if (this.#tryNext(error.code)) return
    }
    this.#lease?.release(error.kind.source === 'upstream' ? OUTCOME.failed : OUTCOME.cancelled)
    if (begun) this.relay?.fail(error)
    this.#host.failed(error, begun)
  }

  #acquire(tried: readonly number[]): Lease | Refusal {
    const { ctx, profile, parts } = this.#host
    const pool = this.#step.pool?.(ctx, parts.pods) ?? ctx.pool
    return parts.selector.acquire(ctx, profile, pool, tried)
  }

  #sendTo(lease: Lease): void {
    const { parts, ctx } = this.#host
    this.#lease = lease
    this.#resent = false
    this.attempts++
    if (this.attempts === 1) this.#host.picked()
    parts.events.onPick(ctx, lease, this.attempts)
    this.#send(lease)
  }

  #send(lease: Lease): void {
    const { parts, ctx, options, results } = this.#host
    const request = this.#step.request(new LeasedStep(ctx, lease, options.clientAddress, results))
    this.#asTokens = request.asTokens
    this.#sentAt = parts.now()
    this.#upstream = parts.client.open(lease.pod, request, this)
  }

  /**
   * Once more to the same pod, whose idle connection closed while the request was on its way. Once only: the pod may
   * as well have died of the request.
   */
  #resend(): boolean {
    if (this.#resent || this.#lease === undefined) return false
    this.#resent = true
    this.#answered = false
    const lease = this.#lease
    this.#again(() => this.#send(lease))
    return true
  }

  /** Goes on with the next best pod, if the retry rule and the fleet allow it. */
  #tryNext(cause: ErrorCode): boolean {
    const failed = this.#lease
    if (failed === undefined) return false
    if (!mayRetry(errorCatalogue[cause], this.#step.onFailure, this.attempts)) return false
    this.#tried ??= []
    this.#tried.push(slotOf(failed.ref))
    const next = this.#acquire(this.#tried)
    if (typeof next === 'string') return false
    failed.release(OUTCOME.failed)
    this.#upstream?.discard()
    this.relay = undefined
    this.#collector = undefined
    this.#answered = false
    this.#lease = next
    this.#host.parts.events.onRetry(this.#host.ctx, failed.pod, cause)
    this.#again(() => this.#sendTo(next))
    return true
  }

  /** Sends from a callback of the client, above which nobody would catch what a step's request transform throws. */
  #again(send: () => void): void {
    try {
      send()
    } catch (error) {
      this.#lease?.release(OUTCOME.cancelled)
      this.#host.failed(toPhylloError(error), false)
    }
  }

  /**
   * Only good answers are samples: a pod that refuses at once is not fast. And only streams: the first byte of any other
   * answer comes with its last, so that clients who ask for long answers would make a healthy pod look slow.
   */
  #firstByte(): void {
    this.#answered = true
    if (this.#status < 400 && this.#host.ctx.stream)
      this.#lease?.firstByte(this.#host.parts.now() - this.#sentAt)
    if (this.relay !== undefined) this.#host.answering()
  }
}
