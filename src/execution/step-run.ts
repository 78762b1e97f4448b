/**
 * One step of a request under way, as its answer is read: look at its head, then relay or keep it. Where the pod fails
 * before anything went to the client, the next best has its turn (step-sending.ts).
 */
import { OUTCOME } from '../data/native.js'
import { PhylloError } from '../errors.js'
import { Collector } from './collector.js'
import type { Lease, LeaseOutcome } from './lease.js'
import { Relay } from './relay.js'
import { ResponseIdScanner } from './response-id.js'
import { isPodFailure } from './retry.js'
import { StepSending } from './step-sending.js'
import { StreamHead } from './stream-head.js'
import type { UpstreamRequest } from './upstream/request.js'
import { deadlineOf, type StepResult } from './workflow.js'

export class StepRun extends StepSending {
  relay: Relay | undefined
  #collector: Collector | undefined
  #status = 0
  #answered = false
  /** What came of a stream that has said nothing yet. */
  #head: StreamHead | undefined
  #over = false

  get over(): boolean {
    return this.#over
  }

  get status(): number {
    return this.#status
  }

  get answered(): boolean {
    return this.#answered
  }

  cancel(outcome: LeaseOutcome): void {
    if (this.#over) return
    this.#over = true
    this.upstream?.abort()
    this.lease?.release(outcome)
    this.relay?.reader?.cut()
  }

  letGo(): void {
    if (this.#over) return
    this.#over = true
    this.upstream?.discard()
    this.lease?.release(OUTCOME.ok)
  }

  expire(): void {
    if (this.#over) return
    this.upstream?.abort()
    const deadlineMs = deadlineOf(this.step, this.host.ctx)
    const what = `pod ${this.pod?.id ?? ''} did not finish step '${this.step.name}' within ${deadlineMs} ms`
    this.onFault(new PhylloError('step_timeout', what), false)
  }

  onHead(status: number, raw: readonly Buffer[]): void {
    this.#status = status
    if (isPodFailure(status) && this.tryNext('pod_error')) return
    const { lease, upstream } = this
    if (lease === undefined || upstream === undefined) return
    if (this.step.output !== 'relay' && status < 400) {
      if (this.step.output === 'keep') this.#collector = new Collector(lease.pod, status, raw)
      return
    }
    // An error is the whole request's answer, whichever step it is of.
    if (status >= 400 && !this.host.mayAnswer(this)) return
    const relay = this.#relayFor(lease, upstream, raw)
    this.relay = relay
    this.#head = this.step.holdsHead && relay.events && status < 400 ? new StreamHead() : undefined
  }

  onChunk(chunk: Buffer): boolean {
    if (this.#head !== undefined) return this.#judge(this.#head, chunk)
    if (!this.#answered && !this.#firstByte()) return true
    const { relay } = this
    if (relay === undefined) return this.#collector?.chunk(chunk) ?? true
    // Engines send an event a token and a piece an event, which undici passes on piece by piece. Where something between
    // joins them, or a step of the engine makes several tokens, fewer are counted than there are; in an answer that comes
    // as a whole, none. That is the same on all pods, and of most requests the prompt is by far the greater part.
    if (relay.events) this.lease?.token()
    return relay.chunk(chunk)
  }

  onEnd(): void {
    if (this.#head !== undefined) this.#letOut(this.#head)
    if (!this.#answered && !this.#firstByte()) return
    this.#over = true
    if (this.relay === undefined) return this.#keep()
    const podFailed = isPodFailure(this.#status)
    // First: only here is a stream of one piece read, which may say that its pod has failed.
    this.relay.end()
    this.lease?.release(podFailed ? OUTCOME.failed : OUTCOME.ok)
    this.relay.reader?.done()
    this.host.relayed(this, podFailed)
  }

  onFault(error: PhylloError, stale: boolean): void {
    const begun = this.relay?.begun === true
    this.relay?.reader?.drop()
    if (!begun) {
      if (stale && this.host.mayResend?.() !== false && this.resend()) return
      if (this.tryNext(error.code)) return
    }
    this.#over = true
    this.lease?.release(error.kind.source === 'upstream' ? OUTCOME.failed : OUTCOME.cancelled)
    if (begun) this.relay?.fail(error)
    this.host.failed(error, begun, this)
  }

  protected forgetAnswer(): void {
    this.relay = undefined
    this.#collector = undefined
    this.#head = undefined
    this.#answered = false
  }

  #relayFor(lease: Lease, upstream: UpstreamRequest, raw: readonly Buffer[]): Relay {
    const { ctx, sink, options, parts } = this.host
    const note = ctx.request.kind === 'responses' && this.#status < 300 ? options.onResponseId : undefined
    const scanner = note && new ResponseIdScanner(id => note(id, lease.ref))
    const relay = new Relay(sink, upstream, this.#status, raw, lease.pod.id, ctx.request.id, scanner)
    relay.reader = parts.answers?.open(ctx, lease, relay, this.asTokens)
    return relay
  }

  /** False: the client is slow. */
  #judge(head: StreamHead, chunk: Buffer): boolean {
    const verdict = head.add(chunk)
    if (verdict === 'nothing') return true
    if (verdict === 'content') return this.#letOut(head)
    this.upstream?.abort()
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

  /** The whole answer of a step that does not relay is here. */
  #keep(): void {
    const result = this.#collector?.result()
    const fault = result && this.#read(result)
    this.lease?.release(fault === undefined ? OUTCOME.ok : OUTCOME.failed)
    this.host.kept(this, result, fault)
  }

  /** What it throws comes back as a fault of the step, which is over by then. */
  #read(result: StepResult): string | undefined {
    try {
      return this.step.read?.(result, this.host.ctx)
    } catch (error) {
      this.lease?.release(OUTCOME.cancelled)
      throw error
    }
  }

  /**
   * Only good answers are samples: a pod that refuses at once is not fast. And only streams: the first byte of any other
   * answer comes with its last, so that clients who ask for long answers would make a healthy pod look slow. False: the
   * answer is not wanted, another one was first.
   */
  #firstByte(): boolean {
    if (this.relay !== undefined && !this.host.mayAnswer(this)) return false
    this.#answered = true
    if (this.#status < 400) this.#sample(this.host.parts.now() - this.sentAt)
    if (this.relay !== undefined) this.host.answering()
    return true
  }

  #sample(ms: number): void {
    const { samples = 'first-byte', hedge } = this.step
    const { ctx } = this.host
    hedge?.sample(ctx, ms)
    if (samples === 'prefill') this.lease?.prefillDone(ms)
    else if (samples === 'first-byte' && ctx.stream) this.lease?.firstByte(ms)
    if (ctx.stream) this.step.learn?.(this.lease?.uncachedTokens ?? 0, ms)
  }
}
