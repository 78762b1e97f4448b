/**
 * What becomes of one request's stream where its pod breaks off: whether and how another pod goes on with it. Until then
 * nothing is parsed: whole events and the client's request are kept, within the policy's bounds. That costs an event of 226
 * bytes some 0.6 µs; reading it at the break, 4 to 9 µs.
 *
 * The pod that goes on is selected as for a new request: prepared anew, with the text so far, by the same workflow, but
 * for the pods that broke off.
 */
import { FIELDS, NO_TICKET, SUMMARY, SUMMARY_WORDS, slotOf } from '../../data/native.js'
import { type PodInfo, runsOtherFiles } from '../../data/pod-view.js'
import type { RoutingContext } from '../../decision/context.js'
import { type PhylloError, toPhylloError } from '../../errors.js'
import { fieldsOf } from '../body-edit.js'
import type { ExecutionEvents, Outcome, ResumeResult } from '../events.js'
import { KeptAnswer } from '../kept-answer.js'
import type { ClientSink } from '../sink.js'
import { type Continuation, continuationOf, lessened } from './continuation.js'
import type { ResumePolicy } from './options.js'
import { type BreakHandler, ResumableSink } from './resumable-sink.js'
import { ResumedEvents } from './resumed-events.js'
import { readSoFar, type StreamSoFar, type TokensSoFar } from './stream-so-far.js'

const UNCOUNTED = 'nobody counts the tokens of the answer, and the request limits them or asks for usage'

/** An answer that broke off, and how it goes on. */
interface Break {
  readonly error: PhylloError
  readonly soFar: StreamSoFar
  /** Undefined: nothing is missing but its end. */
  readonly continuation: Continuation | undefined
}

export class Resumption implements BreakHandler {
  readonly sink: ResumableSink
  /** Slots of the pods that broke off. */
  readonly tried: number[] = []
  readonly #kept: KeptAnswer
  /** The client's own. */
  readonly #body: Buffer
  /** Of the client's prompt, where the router knows its tokens; -1: it does not. */
  #promptTokens = -1
  /** A pod that broke off may count its tokens otherwise than the model's own tokenizer. */
  #hasOtherTokens = false
  /** Found at the break, until the run that broke off has ended. */
  #break: Break | undefined
  /** The same from there until the request that goes on is prepared. */
  #going: Break | undefined
  #result: ResumeResult | undefined
  #closed = false

  /** For requests whose answer is one stream; undefined for others, and where there is no room to keep another. */
  static of(
    ctx: RoutingContext,
    policy: ResumePolicy | undefined,
    events: ExecutionEvents,
    client: ClientSink,
  ): Resumption | undefined {
    const { kind } = ctx.request
    const { length } = ctx.body
    const isText = kind === 'chat' || kind === 'completions'
    if (policy === undefined || !ctx.stream || !isText || ctx.pinnedTo !== '') return undefined
    return length > policy.room.perAnswer || !policy.room.take(length)
      ? undefined
      : new Resumption(ctx, policy, events, client)
  }

  private constructor(
    private readonly ctx: RoutingContext,
    private readonly policy: ResumePolicy,
    private readonly events: ExecutionEvents,
    client: ClientSink,
  ) {
    this.#body = ctx.body
    this.#kept = new KeptAnswer(policy.room)
    this.sink = new ResumableSink(client, this.#kept, this)
  }

  /** Another pod has been asked to go on. */
  get isResumed(): boolean {
    return this.tried.length > 0
  }

  /** From now on nobody goes on: the request ends from outside. */
  close(): void {
    this.#closed = true
  }

  broken(error: PhylloError): boolean {
    if (this.#closed || error.kind.source !== 'upstream') return false
    try {
      const found = this.#look(error)
      if (typeof found === 'string') return this.#gaveUp(found)
      this.#break = found
      return true
    } catch (fault) {
      // It is called at a fault, above which nobody would catch another one.
      return this.#gaveUp(`reading it failed: ${toPhylloError(fault).message}`)
    }
  }

  /**
   * Called when the request's run has failed; `pod` had it. `whole`: the client has all of the answer. `again`: the
   * context has the request that goes on, to be prepared and run.
   */
  take(pod: PodInfo | undefined): 'whole' | 'again' | undefined {
    const { ctx } = this
    const found = this.#break
    this.#break = undefined
    if (found === undefined || this.#closed) return undefined
    const { soFar, continuation, error } = found
    if (continuation === undefined) {
      this.#result = 'whole'
      ctx.trace?.took('resume', `pod ${pod?.id ?? ''} broke off when all was said`)
      this.sink.finish(soFar.done)
      return 'whole'
    }
    this.#going = found
    this.tried.push(pod === undefined ? -1 : slotOf(pod.ref))
    this.#hasOtherTokens ||= pod !== undefined && runsOtherFiles(pod)
    ctx.trace?.took('resume', `pod ${pod?.id ?? ''} broke off after ${soFar.text.length} characters`)
    if (pod !== undefined) this.events.onRetry(ctx, pod, error.code)
    setBody(ctx, continuation.body)
    return 'again'
  }

  /** Called when the context is prepared: lessens the request's limits. Answers why it can't go on. */
  prepared(): PhylloError | undefined {
    const { ctx } = this
    const { continuation, soFar, error } = this.#going ?? {}
    this.#going = undefined
    if (continuation === undefined || soFar === undefined) return undefined
    const tokens = soFar.text === '' ? undefined : (soFar.tokens ?? this.#counted())
    if (tokens === undefined && continuation.needsTokens) {
      this.#gaveUp(UNCOUNTED)
      return error
    }
    const body = tokens === undefined ? continuation.body : lessened(continuation.body, tokens.completion)
    if (body === undefined) {
      this.#gaveUp('it has all the tokens that were asked for')
      return error
    }
    setBody(ctx, body)
    this.sink.resume(new ResumedEvents(soFar, tokens))
    return undefined
  }

  /** Gives back what is held, and tells what became of an answer that broke off. */
  settle(outcome: Outcome): void {
    this.#kept.release()
    this.policy.room.give(this.#body.length)
    const ended = { ok: 'resumed', failed: 'failed', cancelled: 'cancelled' } as const
    const result = this.isResumed ? ended[outcome] : this.#result
    if (result !== undefined) this.events.onResume(this.ctx, result)
  }

  #look(error: PhylloError): Break | string {
    if (this.tried.length >= this.policy.attempts) return `${this.tried.length} pods have broken off`
    const stream = this.sink.soFar()
    if (stream === undefined) return 'it is longer than what is kept'
    const soFar = readSoFar(stream)
    if (typeof soFar === 'string') return soFar
    if (soFar.done) return { error, soFar, continuation: undefined }
    const continuation = continuationOf(this.#body, this.ctx.request.kind, soFar.text)
    if (typeof continuation === 'string') return continuation
    if (soFar.finished) {
      const lacksUsage = continuation.wantsUsage && !soFar.hasUsage
      return lacksUsage ? 'nothing but its usage is missing' : { error, soFar, continuation: undefined }
    }
    if (this.#promptTokens < 0) this.#promptTokens = exactTokens(this.ctx)
    const canCount = soFar.tokens !== undefined || this.#promptTokens >= 0
    return continuation.needsTokens && !canCount ? UNCOUNTED : { error, soFar, continuation }
  }

  /** By the model's tokenizer: what the prompt with the text has more than the prompt. */
  #counted(): TokensSoFar | undefined {
    if (this.#hasOtherTokens) return undefined
    const all = exactTokens(this.ctx)
    const completion = all - this.#promptTokens
    return this.#promptTokens < 0 || completion <= 0 ? undefined : { prompt: this.#promptTokens, completion }
  }

  #gaveUp(why: string): false {
    this.ctx.trace?.took('resume', `not gone on with: ${why}`)
    this.#result = 'unfit'
    return false
  }
}

/** Tokens of the prompt as it was prepared; -1 where they are not known to be the model's own. */
function exactTokens(ctx: RoutingContext): number {
  if (ctx.ticket === NO_TICKET) return -1
  const words = new Uint32Array(SUMMARY_WORDS)
  ctx.lane.native.summary(ctx.ticket, words)
  return words[SUMMARY.exact] === 1 ? (words[SUMMARY.promptTokens] ?? -1) : -1
}

/** Gives the context a body of the router's own, and where its fields are. */
function setBody(ctx: RoutingContext, body: Buffer): void {
  ctx.body = body
  ctx.fields.fill(0)
  for (const [i, value] of fieldsOf(body, FIELDS).entries()) {
    if (value === undefined || value.toString('latin1', 0, 5) === 'null') continue
    ctx.fields.set([value.byteOffset - body.byteOffset, value.length], i * 2)
  }
}
