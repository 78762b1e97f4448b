/**
 * One request under way, from prepare to the end of its answer. Its promise is that however it ends, once and for all:
 * the booking is given back, the upstream connection is free or closed, the observers are told, the context goes back to
 * its pool.
 */
import { OUTCOME } from '../data/native.js'
import type { PodInfo } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import { PhylloError, toPhylloError } from '../errors.js'
import { answerError } from './error-answer.js'
import type { ExecutionRecord, Outcome } from './events.js'
import type { ExecutorParts, Route } from './executor-parts.js'
import { ResponseIdScanner } from './response-id.js'
import { Resumption } from './resume/resumption.js'
import type { SelectingProfile } from './selector.js'
import type { ClientSink } from './sink.js'
import type { ExecuteOptions, Leg, StepHost } from './step-host.js'
import { StepRun } from './step-run.js'
import type { Watched } from './watchdog.js'
import { onlyStep, type StepResult } from './workflow.js'
import type { WorkflowHost } from './workflow-host.js'
import { WorkflowRun } from './workflow-run.js'

export class Execution implements StepHost, WorkflowHost, Watched, ExecutionRecord {
  readonly parts: ExecutorParts
  readonly ctx: RoutingContext
  readonly sink: ClientSink
  readonly options: ExecuteOptions
  error: PhylloError | undefined
  outcome: Outcome = 'ok'
  status = 0
  decisionMs = -1
  firstByteMs = -1
  durationMs = 0
  readonly #route: Route
  readonly #lastTick: number
  readonly #live: Set<Execution>
  readonly #startedAt: number
  #run: StepRun | WorkflowRun | undefined
  /** Another pod may go on with the answer, where one breaks off. */
  readonly #resumption: Resumption | undefined
  #over = false
  /** A native thread reads the body: the context can't be given back before it is done. */
  #preparing = false

  constructor(
    parts: ExecutorParts,
    ctx: RoutingContext,
    route: Route,
    sink: ClientSink,
    options: ExecuteOptions,
    lastTick: number,
    live: Set<Execution>,
  ) {
    this.parts = parts
    this.ctx = ctx
    this.#resumption = Resumption.of(ctx, route.workflow.resume, parts.events, sink)
    this.sink = this.#resumption?.sink ?? sink
    this.options = options
    this.#route = route
    this.#lastTick = lastTick
    this.#live = live
    this.#startedAt = parts.now()
  }

  get profile(): SelectingProfile {
    return this.#route.profile
  }

  get stepProfiles(): ReadonlyMap<string, SelectingProfile> {
    return this.#route.stepProfiles
  }

  get tried(): readonly number[] | undefined {
    return this.#resumption?.tried
  }

  get pod(): PodInfo | undefined {
    return this.#run?.pod
  }

  get attempts(): number {
    return this.#run?.attempts ?? 0
  }

  get bytes(): number {
    return this.#resumption?.sink.bytes ?? this.#run?.relay?.bytes ?? 0
  }

  start(): void {
    this.#live.add(this)
    this.parts.watchdog.add(this)
    this.sink.onAborted(() => this.#clientGone())
    if (this.sink.closed) this.#clientGone()
    else this.#prepare()
  }

  #prepare(): void {
    try {
      // What is told of the preparation is what the client's own request was decided by.
      const trace = this.#resumption?.isResumed ? undefined : this.ctx.trace
      const pending = this.profile.prepare(this.ctx, trace)
      if (pending instanceof Promise) this.#awaitPrepare(pending)
      else this.#startRun()
    } catch (error) {
      this.failed(toPhylloError(error), false)
    }
  }

  /** Ends the request from outside, with an error where nothing has been sent yet. */
  end(error: PhylloError, outcome: (typeof OUTCOME)['failed' | 'cancelled']): void {
    if (this.#over) return
    this.#resumption?.close()
    this.#run?.cancel(outcome)
    const relay = this.#run?.relay
    if (relay?.begun === true) relay.fail(error)
    this.failed(error, relay?.begun === true)
  }

  check(tick: number): void {
    if (this.#run instanceof WorkflowRun) this.#run.check(this.parts.now())
    if (tick <= this.#lastTick || this.#over) return
    // A pod that has sent nothing in all that time is to blame; one that is still talking is not.
    const silent = this.firstByteMs < 0
    const what = silent ? 'no pod answered' : 'the answer was not complete'
    const error = new PhylloError('pod_timeout', `${what} within ${this.parts.requestMs} ms`)
    this.end(error, silent ? OUTCOME.failed : OUTCOME.cancelled)
  }

  // StepHost and WorkflowHost

  picked(): void {
    if (this.decisionMs < 0) this.decisionMs = this.parts.now() - this.#startedAt
  }

  answering(): void {
    // The answer is the client's: no other pod can take over, so nothing is sent again, unless one may go on with it.
    if (this.#resumption === undefined) this.ctx.dropBody()
    if (this.firstByteMs < 0) this.firstByteMs = this.parts.now() - this.#startedAt
  }

  /** Of a workflow with one step: nobody else would. */
  mayAnswer(): boolean {
    return true
  }

  /** Of a workflow with one step, which relays. */
  kept(): void {
    this.failed(new PhylloError('internal_error', 'a workflow has no step that relays'), false)
  }

  answer({ status, headers, body, pod }: StepResult): void {
    this.answering()
    // As the relay does of answers that are not kept.
    const note = this.ctx.request.kind === 'responses' ? this.options.onResponseId : undefined
    if (note !== undefined) new ResponseIdScanner(id => note(id, pod.ref)).feed(body)
    this.status = status
    if (!this.sink.closed) {
      this.sink.begin(status, [...headers, 'x-phyllo-pod', pod.id, 'x-request-id', this.ctx.request.id])
      this.sink.end(body)
    }
    this.#finish('ok')
  }

  relayed(_leg: Leg | undefined, podFailed: boolean): void {
    const refused = this.#resumption?.sink.refused
    if (refused !== undefined) return this.failed(refused, false)
    this.status = this.#run?.relay?.status ?? 0
    this.#finish(podFailed ? 'failed' : 'ok')
  }

  failed(error: PhylloError, begun: boolean): void {
    if (this.#over || (begun && this.#goesOn())) return
    this.error = error
    const isBegun = begun || this.#resumption?.sink.begun === true
    this.status = isBegun ? this.#statusSent : error.kind.status
    if (!isBegun) answerError(this.sink, error, { requestId: this.ctx.request.id, podId: this.pod?.id })
    else if (!begun) this.#resumption?.sink.fail(error)
    this.#finish('failed')
  }

  /** The status that the client has got; 0: none. Of an answer that was gone on with, a stream's. */
  get #statusSent(): number {
    return this.#resumption?.isResumed ? 200 : (this.#run?.relay?.status ?? 0)
  }

  /** The answer broke off: whether another pod says the rest, or nothing was left to say. */
  #goesOn(): boolean {
    const next = this.#resumption?.take(this.pod)
    if (next === 'again') this.#prepare()
    else if (next === 'whole') this.relayed(undefined, false)
    return next !== undefined
  }

  #awaitPrepare(pending: Promise<void>): void {
    this.#preparing = true
    pending.then(
      () => this.#prepared(undefined),
      error => this.#prepared(toPhylloError(error)),
    )
  }

  #prepared(error: PhylloError | undefined): void {
    this.#preparing = false
    if (this.#over) this.parts.contexts.give(this.ctx)
    else if (error !== undefined) this.failed(error, false)
    else this.#startRun()
  }

  /** Catches for itself: it runs in callbacks above which nobody would. */
  #startRun(): void {
    const { workflow } = this.#route
    try {
      const fault = this.#resumption?.prepared()
      if (fault !== undefined) return this.failed(fault, false)
      const step = onlyStep(workflow)
      this.#run = step === undefined ? new WorkflowRun(this, workflow) : new StepRun(this, step)
      this.#run.start()
    } catch (error) {
      // A plugin of the selection, or the step's request transform.
      this.#run?.cancel(OUTCOME.cancelled)
      this.failed(toPhylloError(error), false)
    }
  }

  #clientGone(): void {
    if (this.#over) return
    this.#run?.cancel(OUTCOME.cancelled)
    const isBegun = this.#run?.relay?.begun === true || this.#resumption?.sink.begun === true
    this.status = isBegun ? this.#statusSent : 499
    this.#finish('cancelled')
  }

  #finish(outcome: Outcome): void {
    if (this.#over) return
    this.#over = true
    this.outcome = outcome
    this.durationMs = this.parts.now() - this.#startedAt
    this.#live.delete(this)
    this.parts.watchdog.delete(this)
    try {
      this.#resumption?.settle(outcome)
      this.parts.events.onDone(this.ctx, this)
    } finally {
      if (!this.#preparing) this.parts.contexts.give(this.ctx)
    }
  }
}
