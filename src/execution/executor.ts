/**
 * Executor: runs a workflow for a request: prepare, then step after step, until the answer has gone to the client. Its
 * promise is that however a request ends, once and for all: the booking is given back, the upstream connection is
 * free or closed, the observers are told, the context goes back to its pool.
 */
import { OUTCOME } from '../data/native.js'
import type { PodInfo } from '../data/pod-view.js'
import type { RoutingContext, RoutingContexts } from '../decision/context.js'
import { PhylloError, toPhylloError } from '../errors.js'
import { answerError } from './error-answer.js'
import type { ExecutionRecord, Outcome } from './events.js'
import { ResponseIdScanner } from './response-id.js'
import type { SelectingProfile } from './selector.js'
import type { ClientSink } from './sink.js'
import type { ExecuteOptions, ExecutionParts, Leg, StepHost } from './step-host.js'
import { StepRun } from './step-run.js'
import type { Watchdog, Watched } from './watchdog.js'
import { onlyStep, type StepResult, type Workflow } from './workflow.js'
import type { WorkflowHost } from './workflow-host.js'
import { WorkflowRun } from './workflow-run.js'

export interface ExecutorParts extends ExecutionParts {
  readonly contexts: RoutingContexts
  readonly watchdog: Watchdog
  /** Most milliseconds of a whole request, retries included; 0 = no limit. */
  readonly requestMs: number
}

/** One per worker. */
export class Executor {
  readonly #live = new Set<Execution>()
  readonly #requestTicks: number

  constructor(private readonly parts: ExecutorParts) {
    this.#requestTicks = parts.watchdog.ticks(parts.requestMs)
  }

  /** Requests under way. */
  get inFlight(): number {
    return this.#live.size
  }

  /**
   * Serves the request. The context belongs to the executor from here on and goes back to its pool at the end; the
   * sink gets exactly one answer, or is aborted. Never throws. `stepProfiles`: those that the workflow's steps name.
   */
  execute(
    ctx: RoutingContext,
    profile: SelectingProfile,
    workflow: Workflow,
    sink: ClientSink,
    options: ExecuteOptions,
    stepProfiles: ReadonlyMap<string, SelectingProfile> = noProfiles,
  ): void {
    const lastTick = this.parts.watchdog.tick + this.#requestTicks
    const route = { profile, workflow, stepProfiles }
    const execution = new Execution(this.parts, ctx, route, sink, options, lastTick, this.#live)
    execution.start()
  }

  /** Ends all requests under way, as a shutdown whose grace is over must; answers their number. */
  cutOff(): number {
    const count = this.#live.size
    const error = new PhylloError('shutting_down', 'the router is shutting down')
    for (const execution of this.#live) execution.end(error, OUTCOME.cancelled)
    return count
  }
}

const noProfiles: ReadonlyMap<string, SelectingProfile> = new Map()

/** How a request is served. */
interface Route {
  readonly profile: SelectingProfile
  readonly workflow: Workflow
  readonly stepProfiles: ReadonlyMap<string, SelectingProfile>
}

class Execution implements StepHost, WorkflowHost, Watched, ExecutionRecord {
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
    this.sink = sink
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

  get pod(): PodInfo | undefined {
    return this.#run?.pod
  }

  get attempts(): number {
    return this.#run?.attempts ?? 0
  }

  get bytes(): number {
    return this.#run?.relay?.bytes ?? 0
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
      const pending = this.profile.prepare(this.ctx, this.ctx.trace)
      if (pending instanceof Promise) this.#awaitPrepare(pending)
      else this.#startRun()
    } catch (error) {
      this.failed(toPhylloError(error), false)
    }
  }

  /** Ends the request from outside, with an error where nothing has been sent yet. */
  end(error: PhylloError, outcome: (typeof OUTCOME)['failed' | 'cancelled']): void {
    if (this.#over) return
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
    // The answer is the client's: no other pod can take over, so nothing is sent again.
    this.ctx.dropBody()
    this.firstByteMs = this.parts.now() - this.#startedAt
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
    this.status = this.#run?.relay?.status ?? 0
    this.#finish(podFailed ? 'failed' : 'ok')
  }

  failed(error: PhylloError, begun: boolean): void {
    if (this.#over) return
    this.error = error
    this.status = begun ? (this.#run?.relay?.status ?? 0) : error.kind.status
    if (!begun) {
      answerError(this.sink, error, { requestId: this.ctx.request.id, podId: this.pod?.id })
    }
    this.#finish('failed')
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
    this.status = this.#run?.relay?.begun === true ? this.#run.relay.status : 499
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
      this.parts.events.onDone(this.ctx, this)
    } finally {
      if (!this.#preparing) this.parts.contexts.give(this.ctx)
    }
  }
}
