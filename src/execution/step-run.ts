/**
 * One step of a request under way: pick a pod, send, look at the head of the answer, then relay or keep it; and when
 * the pod fails before anything went to the client, the same on the next best pod.
 */
import { OUTCOME, type PodRef, slotOf } from '../data/native.js'
import type { PodInfo, PodView } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import { selectionError } from '../decision/outcome.js'
import type { Refusal } from '../decision/plugin.js'
import { type ErrorCode, errorCatalogue, PhylloError, toPhylloError } from '../errors.js'
import type { Answers } from './answers.js'
import { Collector } from './collector.js'
import type { ExecutionEvents } from './events.js'
import type { Lease, LeaseOutcome } from './lease.js'
import { Relay } from './relay.js'
import { ResponseIdScanner } from './response-id.js'
import { isPodFailure, mayRetry } from './retry.js'
import type { SelectingProfile, Selector } from './selector.js'
import type { ClientSink } from './sink.js'
import { LeasedStep, type StepPeers } from './step-input.js'
import { StreamHead } from './stream-head.js'
import type { UpstreamClient } from './upstream/client.js'
import type { UpstreamHandler } from './upstream/handler.js'
import type { UpstreamRequest } from './upstream/request.js'
import { deadlineOf, type Step, type StepResult } from './workflow.js'

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

/** The request that steps belong to. */
export interface StepHost {
  readonly parts: ExecutionParts
  readonly ctx: RoutingContext
  readonly profile: SelectingProfile
  readonly sink: ClientSink
  readonly options: ExecuteOptions
  /** What the step may know of others; absent where it is the only one. */
  readonly peers?: StepPeers | undefined
  /** A pod was booked. */
  picked(): void
  /** The step's answer is about to become the client's. False: another step's is, and this one was ended. */
  mayAnswer(run: StepRun): boolean
  /** The first byte of the answer that goes to the client is here. */
  answering(): void
  /** The step's answer was kept, or read away (undefined). `fault`: it is not what the protocol says. */
  kept(run: StepRun, result: StepResult | undefined, fault: string | undefined): void
  /**
   * The step's pod failed and nothing went to the client. True: the host sees to it, and has ended the step. Absent: the
   * step itself goes on with its next best pod.
   */
  takeOver?(run: StepRun, cause: ErrorCode): boolean
  /** False: another step's answer is the client's by now, and nothing is sent again beside it. Absent: true. */
  mayResend?(): boolean
  /** An answer went to the client, whole; `podFailed`: it is the 5xx of a pod. */
  relayed(run: StepRun, podFailed: boolean): void
  /** The step failed. `begun`: part of an answer went out, and its relay has ended it. */
  failed(error: PhylloError, begun: boolean, run?: StepRun): void
}

const none: readonly number[] = []

export class StepRun implements UpstreamHandler {
  /** Pods sent to. */
  attempts = 0
  relay: Relay | undefined
  readonly step: Step
  readonly #host: StepHost
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
  /** What came of a stream that has said nothing yet. */
  #head: StreamHead | undefined
  #over = false

  constructor(host: StepHost, step: Step) {
    this.#host = host
    this.step = step
  }

  /** The pod that has the request, or had it last. */
  get pod(): PodInfo | undefined {
    return this.#lease?.pod
  }

  /** Over, one way or another: whole, failed or ended from outside. */
  get over(): boolean {
    return this.#over
  }

  /** Of its answer; 0 before its head is here. */
  get status(): number {
    return this.#status
  }

  /** Milliseconds of the clock when it was sent. */
  get sentAt(): number {
    return this.#sentAt
  }

  /** Its answer has begun. */
  get answered(): boolean {
    return this.#answered
  }

  /** Picks a pod and sends. */
  start(): void {
    const lease = this.#acquire(none)
    if (typeof lease === 'string') this.#host.failed(selectionError(lease, this.#host.ctx), false)
    else this.#sendTo(lease)
  }

  /** Sends to a pod that was picked before. */
  startOn(lease: Lease, attempts: number): void {
    this.attempts = attempts
    this.#sendTo(lease)
  }

  /** Ends the step from outside: the connection is closed at once, the booking given back. */
  cancel(outcome: LeaseOutcome): void {
    if (this.#over) return
    this.#over = true
    this.#upstream?.abort()
    this.#lease?.release(outcome)
    this.relay?.reader?.cut()
  }

  /** Ends a step whose answer nobody waits for any longer, and keeps its connection if little of it is left. */
  letGo(): void {
    if (this.#over) return
    this.#over = true
    this.#upstream?.discard()
    this.#lease?.release(OUTCOME.ok)
  }

  /** Its deadline has passed: the pod has failed. */
  expire(): void {
    if (this.#over) return
    this.#upstream?.abort()
    const deadlineMs = deadlineOf(this.step, this.#host.ctx)
    const what = `pod ${this.pod?.id ?? ''} did not finish step '${this.step.name}' within ${deadlineMs} ms`
    this.onFault(new PhylloError('step_timeout', what), false)
  }

  onHead(status: number, raw: readonly Buffer[]): void {
    this.#status = status
    if (isPodFailure(status) && this.#tryNext('pod_error')) return
    const { ctx, sink, options, parts } = this.#host
    const lease = this.#lease
    const upstream = this.#upstream
    if (lease === undefined || upstream === undefined) return
    if (this.step.output !== 'relay' && status < 400) {
      if (this.step.output === 'keep') this.#collector = new Collector(lease.pod, status, raw)
      return
    }
    // An error is the whole request's answer, whichever step it is of.
    if (status >= 400 && !this.#host.mayAnswer(this)) return
    const note = ctx.request.kind === 'responses' && status < 300 ? options.onResponseId : undefined
    const scanner = note && new ResponseIdScanner(id => note(id, lease.ref))
    this.relay = new Relay(sink, upstream, status, raw, lease.pod.id, ctx.request.id, scanner)
    this.relay.reader = parts.answers?.open(ctx, lease, this.relay, this.#asTokens)
    this.#head = this.step.holdsHead && this.relay.events && status < 400 ? new StreamHead() : undefined
  }

  onChunk(chunk: Buffer): boolean {
    if (this.#head !== undefined) return this.#judge(this.#head, chunk)
    if (!this.#answered && !this.#firstByte()) return true
    const { relay } = this
    if (relay === undefined) return this.#collector?.chunk(chunk) ?? true
    // Engines send an event a token and a piece an event, which undici passes on piece by piece. Where something between
    // joins them, or a step of the engine makes several tokens, fewer are counted than there are; in an answer that comes
    // as a whole, none. That is the same on all pods, and of most requests the prompt is by far the greater part.
    if (relay.events) this.#lease?.token()
    return relay.chunk(chunk)
  }

  /** False: the client is slow. */
  #judge(head: StreamHead, chunk: Buffer): boolean {
    const verdict = head.add(chunk)
    if (verdict === 'nothing') return true
    if (verdict === 'content') return this.#letOut(head)
    this.#upstream?.abort()
    const what = `pod ${this.pod?.id ?? ''} answered with an error: ${verdict.error}`
    this.onFault(new PhylloError('pod_error', what), false)
    return true
  }

  #letOut(head: StreamHead): boolean {
    this.#head = undefined
    let more = true
    for (const chunk of head.chunks) more = this.onChunk(chunk)
    return more
  }

  onEnd(): void {
    if (this.#head !== undefined) this.#letOut(this.#head)
    if (!this.#answered && !this.#firstByte()) return
    this.#over = true
    if (this.relay === undefined) return this.#keep()
    const podFailed = isPodFailure(this.#status)
    this.#lease?.release(podFailed ? OUTCOME.failed : OUTCOME.ok)
    this.relay.end()
    this.relay.reader?.done()
    this.#host.relayed(this, podFailed)
  }

  /** The whole answer of a step that does not relay is here. */
  #keep(): void {
    const result = this.#collector?.result()
    const fault = result && this.#read(result)
    this.#lease?.release(fault === undefined ? OUTCOME.ok : OUTCOME.failed)
    this.#host.kept(this, result, fault)
  }

  /** What it throws comes back as a fault of the step, which is over by then. */
  #read(result: StepResult): string | undefined {
    try {
      return this.step.read?.(result, this.#host.ctx)
    } catch (error) {
      this.#lease?.release(OUTCOME.cancelled)
      throw error
    }
  }

  onFault(error: PhylloError, stale: boolean): void {
    const begun = this.relay?.begun === true
    this.relay?.reader?.drop()
    if (!begun) {
      if (stale && this.#host.mayResend?.() !== false && this.#resend()) return
      if (this.#tryNext(error.code)) return
    }
    this.#over = true
    this.#lease?.release(error.kind.source === 'upstream' ? OUTCOME.failed : OUTCOME.cancelled)
    if (begun) this.relay?.fail(error)
    this.#host.failed(error, begun, this)
  }

  #acquire(tried: readonly number[]): Lease | Refusal {
    const { ctx, profile, parts } = this.#host
    const pool = this.step.pool?.(ctx, parts.pods) ?? ctx.pool
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
    const { parts, ctx, options, peers } = this.#host
    const request = this.step.request(
      new LeasedStep(ctx, lease, options.clientAddress, peers, this.step.name),
    )
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
    this.#head = undefined
    const lease = this.#lease
    this.#again(() => this.#send(lease))
    return true
  }

  /** Goes on with the next best pod, if the retry rule and the fleet allow it. True: nothing is left to do here. */
  #tryNext(cause: ErrorCode): boolean {
    try {
      return this.#goesOn(cause)
    } catch (error) {
      // A plugin of the selection. Most callers are a clock or a callback, above which it would end the worker.
      this.cancel(OUTCOME.failed)
      this.#host.failed(toPhylloError(error), false, this)
      return true
    }
  }

  #goesOn(cause: ErrorCode): boolean {
    const failed = this.#lease
    if (failed === undefined) return false
    if (this.#host.takeOver !== undefined) return this.#host.takeOver(this, cause)
    if (!mayRetry(errorCatalogue[cause], this.step.onFailure, this.attempts)) return false
    this.#tried ??= []
    this.#tried.push(slotOf(failed.ref))
    const next = this.#acquire(this.#tried)
    if (typeof next === 'string') return false
    failed.release(OUTCOME.failed)
    this.#upstream?.discard()
    this.relay = undefined
    this.#collector = undefined
    this.#head = undefined
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
      this.cancel(OUTCOME.cancelled)
      this.#host.failed(toPhylloError(error), false, this)
    }
  }

  /**
   * Only good answers are samples: a pod that refuses at once is not fast. And only streams: the first byte of any other
   * answer comes with its last, so that clients who ask for long answers would make a healthy pod look slow. False: the
   * answer is not wanted, another one was first.
   */
  #firstByte(): boolean {
    if (this.relay !== undefined && !this.#host.mayAnswer(this)) return false
    this.#answered = true
    if (this.#status < 400) this.#sample(this.#host.parts.now() - this.#sentAt)
    if (this.relay !== undefined) this.#host.answering()
    return true
  }

  #sample(ms: number): void {
    const { samples = 'first-byte', hedge } = this.step
    hedge?.sample(this.#host.ctx, ms)
    if (samples === 'prefill') this.#lease?.prefillDone(ms)
    else if (samples === 'first-byte' && this.#host.ctx.stream) this.#lease?.firstByte(ms)
    if (this.#host.ctx.stream) this.step.learn?.(this.#lease?.uncachedTokens ?? 0, ms)
  }
}
