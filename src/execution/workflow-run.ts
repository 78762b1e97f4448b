/**
 * One request's way through a workflow of several steps: picks the pods of a stage, sends its steps together, hands
 * their results on, and when a pod fails before anything went to the client, ends the stage's other legs at once and
 * begins again on the next pods, or turns to the fallback. Whoever answers first answers: the others are ended.
 */
import { OUTCOME, slotOf } from '../data/native.js'
import type { PodInfo } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import { selectionError } from '../decision/outcome.js'
import type { Refusal } from '../decision/plugin.js'
import { type ErrorCode, errorCatalogue, PhylloError, toPhylloError } from '../errors.js'
import { enterWorkflow, withoutPod } from './enter-workflow.js'
import type { Shortfall, Way } from './events.js'
import { Hedging } from './hedging.js'
import type { Lease, LeaseOutcome } from './lease.js'
import { LegTimers } from './leg-timers.js'
import { PickedPods } from './picked-pods.js'
import type { Relay } from './relay.js'
import { mayRetry } from './retry.js'
import type { SelectingProfile } from './selector.js'
import type { ClientSink } from './sink.js'
import type { StepPeers } from './step-input.js'
import { type ExecuteOptions, type ExecutionParts, type StepHost, StepRun } from './step-run.js'
import { deadlineOf, type Stage, type Step, type StepResult, stepsOf, type Workflow } from './workflow.js'

/** The request that the run is of; the rest of what a step asks for comes from it too. */
export interface WorkflowHost {
  readonly parts: ExecutionParts
  readonly ctx: RoutingContext
  readonly profile: SelectingProfile
  /** Profiles that steps name. */
  readonly stepProfiles: ReadonlyMap<string, SelectingProfile>
  readonly sink: ClientSink
  readonly options: ExecuteOptions
  picked(): void
  answering(): void
  /** The client's answer is a kept one. */
  answer(result: StepResult): void
  relayed(run: StepRun | undefined, podFailed: boolean): void
  failed(error: PhylloError, begun: boolean, run?: StepRun): void
}

/**
 * How long what a stage has left for the next is counted on. vLLM holds blocks for 30 s (kv_lease_duration); later it
 * reads what others have written there since, and answers wrongly (test/engines/disaggregated/README.md).
 */
const HAND_OFF_MS = 10_000

export class WorkflowRun implements StepHost, StepPeers {
  readonly #host: WorkflowHost
  #workflow: Workflow
  readonly #picked: PickedPods
  readonly #timers = new LegTimers()
  #at = 0
  /** When the stage was reached. */
  #stageSince = 0
  #legs: StepRun[] = []
  /** The leg whose answer is the client's. */
  #winner: StepRun | undefined
  #last: StepRun | undefined
  #over = false
  /** Not told yet. */
  #way: Way | undefined
  readonly #hedging: Hedging
  attemptId = ''

  constructor(host: WorkflowHost, workflow: Workflow) {
    this.#host = host
    this.#workflow = workflow
    this.#picked = new PickedPods(host)
    this.#hedging = new Hedging(host.parts.events, host.ctx)
  }

  get parts(): ExecutionParts {
    return this.#host.parts
  }
  get ctx(): RoutingContext {
    return this.#host.ctx
  }
  get profile(): SelectingProfile {
    return this.#host.profile
  }
  get sink(): ClientSink {
    return this.#host.sink
  }
  get options(): ExecuteOptions {
    return this.#host.options
  }
  get peers(): StepPeers {
    return this
  }

  /** The pod whose answer the client gets; before that, the one that was sent to last. */
  get pod(): PodInfo | undefined {
    return (this.#winner ?? this.#last)?.pod
  }
  get attempts(): number {
    return (this.#winner ?? this.#last)?.attempts ?? 0
  }
  get relay(): Relay | undefined {
    return this.#winner?.relay
  }

  podOf(step: string): PodInfo | undefined {
    return this.#picked.podOf(step)
  }

  start(): void {
    this.#enter(this.#workflow)
  }

  /** Ends all of it from outside. */
  cancel(outcome: LeaseOutcome): void {
    if (this.#over) return
    this.#over = true
    this.#stop(outcome)
  }

  /** Ends the legs whose deadline has passed; `now`: milliseconds of the clock. */
  check(now: number): void {
    for (const leg of this.#legs) {
      const deadlineMs = deadlineOf(leg.step, this.ctx)
      const isDue = deadlineMs > 0 && !leg.over && now - leg.sentAt > deadlineMs
      if (isDue && !(leg.step.output === 'relay' && leg.answered)) leg.expire()
    }
  }

  // StepHost

  picked(): void {
    this.#host.picked()
  }

  mayAnswer(run: StepRun): boolean {
    if (run.status >= 400 && this.#winner === undefined && this.#goesOnWithout(run)) return false
    if (this.#winner === undefined) {
      this.#winner = run
      this.#hedging.answered(run)
      this.#endOthers(run)
    }
    if (this.#winner === run) return true
    run.cancel(OUTCOME.cancelled)
    return false
  }

  answering(): void {
    this.#timers.clear()
    // An error answer is no step done: it is the client's fault, or was counted as the pod's.
    if ((this.#winner?.status ?? 0) < 400) this.#done(this.#winner)
    this.#host.answering()
  }

  kept(run: StepRun, result: StepResult | undefined, fault: string | undefined): void {
    if (this.#over) return
    this.#again(() => {
      if (fault === undefined) this.#done(run)
      if (fault !== undefined && this.#winner === undefined) this.#badResult(run, fault)
      else if (result !== undefined && this.#isEnough(run, result)) this.#suffices(run, result)
      else this.#advance()
    })
  }

  takeOver(run: StepRun, cause: ErrorCode): boolean {
    if (this.#over) return true
    if (this.#winner !== undefined) {
      // The answer is under way, or over: what else a leg does is its pod's matter alone.
      if (this.#winner === run) return false
      run.cancel(OUTCOME.failed)
      return true
    }
    return this.#retry(run, cause) || this.#skips(run)
  }

  /** The request's body is gone once its answer is under way. */
  mayResend(): boolean {
    return this.#winner === undefined
  }

  relayed(run: StepRun, podFailed: boolean): void {
    if (this.#over) return
    this.#over = true
    // What a leg still has to say is for nobody: the answer that rests on it is whole.
    for (const leg of this.#legs) leg.letGo()
    this.#finish(OUTCOME.cancelled)
    this.#host.relayed(run, podFailed)
  }

  failed(error: PhylloError, begun: boolean, run?: StepRun): void {
    if (this.#over || (run !== undefined && !begun && this.#isNotNeeded(run, error.code))) return
    // What failed before it answered was told when the next pod was looked for.
    if (run !== undefined && run === this.#winner) this.#done(run, error.code)
    this.#over = true
    this.#stop(OUTCOME.cancelled)
    this.#host.failed(error, begun, run)
  }

  #enter(asked: Workflow, turned?: Way): void {
    const { ctx, parts } = this.#host
    this.attemptId = this.#picked.newAttempt()
    const { workflow, way, refusal } = enterWorkflow(asked, { ...parts, ctx, picked: this.#picked }, turned)
    this.#workflow = workflow
    this.#way = way
    this.#at = 0
    if (refusal === undefined) this.#runStage()
    else this.failed(selectionError(refusal, ctx), false)
  }

  #refused(refusal: Refusal): void {
    const fallback = withoutPod(this.#workflow, { ctx: this.ctx, picked: this.#picked })
    if (fallback !== undefined) this.#enter(fallback, 'fallback')
    else this.failed(selectionError(refusal, this.ctx), false)
  }

  #runStage(): void {
    const stage: Stage | undefined = this.#workflow.stages[this.#at]
    if (stage === undefined) throw new PhylloError('internal_error', 'a workflow ran past its last stage')
    const [step] = stage.steps
    const refusal = this.#pick(stage)
    if (refusal !== undefined && step?.skip !== undefined) return this.#skip(step, 'no_pod')
    if (refusal !== undefined) return this.#refused(refusal)
    this.#tellWay()
    this.#legs = stage.steps.map(step => new StepRun(this, step))
    // Of those sent, one may fail at once and end the others.
    const legs = this.#legs
    for (const leg of legs) {
      if (this.#legs !== legs || this.#winner !== undefined) break
      this.#send(leg)
    }
  }

  #tellWay(): void {
    if (this.#way !== undefined) this.parts.events.onWay(this.ctx, this.#way)
    this.#way = undefined
  }

  /** Tells of a step's end. */
  #done(run: StepRun | undefined, cause?: ErrorCode): void {
    if (run !== undefined)
      this.parts.events.onStep(this.ctx, run.step.name, this.parts.now() - run.sentAt, cause)
  }

  #send(leg: StepRun): void {
    const { step } = leg
    const lease = this.#picked.take(step.name)
    if (lease === undefined) throw new PhylloError('internal_error', `step '${step.name}' has no pod`)
    this.#last = leg
    if (!this.#start(leg, lease, this.#picked.failures(step.name))) return
    const wait = step.hedge?.afterMs(this.ctx)
    if (wait !== undefined) this.#timers.set(wait, () => this.#hedge(leg, lease))
  }

  /** Sends. What a request transform throws is the leg's failure, and the request's only where that needs the leg. */
  #start(leg: StepRun, lease: Lease, attempts: number): boolean {
    try {
      leg.startOn(lease, attempts)
      return true
    } catch (error) {
      this.failed(toPhylloError(error), false, leg)
      leg.cancel(OUTCOME.cancelled)
      return false
    }
  }

  /** Books the stage's pods. What a selection's plugin throws leaves no pod for a step that can be done without. */
  #pick({ steps }: Stage): Refusal | undefined {
    try {
      return this.#picked.pickAll(steps)
    } catch (error) {
      if (steps[0]?.skip === undefined) throw error
      return 'no_pod'
    }
  }

  /** Nothing has come of the first: a second pod gets the request too. */
  #hedge(leg: StepRun, first: Lease): void {
    if (this.#over || leg.over || this.#winner !== undefined) return
    if (leg.step.hedge?.spend() !== true) return this.#hedging.missed('refused')
    const lease = this.#picked.acquireBeside(leg.step, slotOf(first.ref))
    if (lease === undefined) return this.#hedging.missed('no_pod')
    this.ctx.trace?.took(
      this.#workflow.name,
      `pod ${first.pod.id} was silent, so ${lease.pod.id} was asked too`,
    )
    const second = new StepRun(this, leg.step)
    this.#legs.push(second)
    this.#hedging.sent(second)
    this.#start(second, lease, leg.attempts)
  }

  #isEnough({ step }: StepRun, result: StepResult): boolean {
    if (step.suffices === undefined) return false
    let verdict: true | Shortfall = 'unreadable'
    try {
      verdict = step.suffices(result, this.ctx)
    } catch (error) {
      this.ctx.trace?.took(this.#workflow.name, `step '${step.name}': ${toPhylloError(error).message}`)
    }
    this.parts.events.onJudged(this.ctx, verdict === true ? 'sufficed' : verdict)
    return verdict === true
  }

  #suffices(run: StepRun, result: StepResult): void {
    this.#over = true
    this.#winner = run
    this.#stop(OUTCOME.cancelled)
    this.#host.answer(result)
  }

  #badResult(run: StepRun, fault: string): void {
    const error = new PhylloError(
      'pod_bad_response',
      `pod ${run.pod?.id ?? ''}, step '${run.step.name}': ${fault}`,
    )
    if (!this.#retry(run, error.code) && !this.#skips(run)) this.failed(error, false, run)
  }

  /** Whether an error answer of that leg is not the client's: another pod may still do better, or nobody needs it. */
  #goesOnWithout(run: StepRun): boolean {
    if (this.#hasTwin(run)) {
      this.#hedging.failed(run)
      run.letGo()
      return true
    }
    if (run.step.skip === undefined) return false
    run.letGo()
    this.#again(() => this.#skip(run.step, 'failed'))
    return true
  }

  /** Whether a leg that fails of a fault of the router's own, and not of its pod, is nobody's loss; ends it then. */
  #isNotNeeded(run: StepRun, cause: ErrorCode): boolean {
    if (run === this.#winner) return false
    if (this.#winner === undefined && !this.#hasTwin(run)) return this.#skips(run, OUTCOME.cancelled)
    if (this.#winner === undefined) this.#done(run, cause)
    this.#hedging.failed(run)
    run.cancel(OUTCOME.cancelled)
    return true
  }

  /** Another pod tries the same step. */
  #hasTwin(run: StepRun): boolean {
    return this.#legs.some(leg => leg !== run && leg.step === run.step && !leg.over)
  }

  /** Ends a leg that failed, and goes on without its step where the workflow can. */
  #skips(run: StepRun, outcome: LeaseOutcome = OUTCOME.failed): boolean {
    if (run.step.skip === undefined) return false
    run.cancel(outcome)
    this.#again(() => this.#skip(run.step, 'failed'))
    return true
  }

  #skip(step: Step, why: 'failed' | 'no_pod'): void {
    if (step.suffices !== undefined) this.parts.events.onJudged(this.ctx, why)
    this.ctx.trace?.took(this.#workflow.name, `step '${step.name}' came to nothing, and is not needed`)
    step.skip?.(this.ctx)
    this.#legs = []
    this.#nextStage()
  }

  /** To the next stage, once all of this one is done. */
  #advance(): void {
    if (this.#winner !== undefined || this.#legs.some(leg => !leg.over)) return
    // The relaying leg of the last stage ends it all; this is one of those before.
    if (this.#legs.some(leg => leg.step.output === 'relay')) return
    this.#nextStage()
  }

  #nextStage(): void {
    this.#at++
    this.#stageSince = this.parts.now()
    this.#runStage()
  }

  /** Goes on without the pod that failed. False: that can't be. */
  #retry(run: StepRun, cause: ErrorCode): boolean {
    const { step, pod } = run
    this.#done(run, cause)
    const failures = this.#picked.failed(step.name, pod)
    if (this.#hasTwin(run)) {
      this.#hedging.failed(run)
      run.cancel(OUTCOME.failed)
      return true
    }
    if (cause === 'step_timeout' || (step.output === 'relay' && cause !== 'pod_unreachable')) {
      this.#doubtOthers(step)
    }
    if (!mayRetry(errorCatalogue[cause], step.onFailure, failures)) return false
    const next = this.#picked.acquireEarly(step)
    const { fallback, stages } = this.#workflow
    if (typeof next === 'string' && (fallback === undefined || step.skip !== undefined)) return false
    run.cancel(OUTCOME.failed)
    this.#stop(OUTCOME.cancelled)
    if (pod !== undefined) this.parts.events.onRetry(this.ctx, pod, cause)
    const goOn = (): void => {
      if (typeof next === 'string') return this.#refused(next)
      this.#picked.hold(step, next)
      if (!this.#isUntouched(cause)) {
        this.#at = stages[this.#at]?.restartAt ?? this.#at
        this.attemptId = this.#picked.newAttempt()
      }
      const refusal = this.#workflow.picksAhead
        ? this.#picked.pickAll(stages.slice(this.#at).flatMap(({ steps }) => steps))
        : undefined
      if (refusal !== undefined) this.#refused(refusal)
      else this.#runStage()
    }
    this.#again(goOn)
    return true
  }

  /**
   * Of steps that meet, each may wait in vain for what the other leaves undone, and the one that answers fails of it too.
   * Who is at fault can't be told: the next try is on another pair, where there is one.
   */
  #doubtOthers({ name }: Step): void {
    const { stages, picksAhead } = this.#workflow
    const steps = picksAhead ? stepsOf(this.#workflow) : (stages[this.#at]?.steps ?? [])
    for (const other of steps) {
      const pod = other.name === name ? undefined : this.#picked.doubt(other.name)
      if (pod !== undefined) this.parts.events.onDoubt(this.ctx, pod)
    }
  }

  /**
   * A pod that was never reached has not taken what earlier stages left for it, so that the next one can. Not where
   * these named it, or left it there; nor where a step beside it has already used the attempt's id.
   */
  #isUntouched(cause: ErrorCode): boolean {
    const { stages, picksAhead } = this.#workflow
    const isFresh = this.parts.now() - this.#stageSince < HAND_OFF_MS
    return cause === 'pod_unreachable' && isFresh && !picksAhead && stages[this.#at]?.steps.length === 1
  }

  #endOthers(winner: StepRun): void {
    const isError = winner.step.output !== 'relay' || winner.status >= 400
    for (const leg of this.#legs) {
      if (leg === winner) continue
      const isSlower = leg.step === winner.step && leg.sentAt <= winner.sentAt && !leg.over
      if (isSlower && !isError) leg.step.hedge?.sample(this.ctx, this.parts.now() - leg.sentAt)
      // A leg that the answer rests on goes on to its end; of two that try the same, or besides an error, none does.
      if (isError || leg.step === winner.step || leg.step.output === 'relay') leg.cancel(OUTCOME.cancelled)
    }
  }

  /** Ends all legs, and gives back what is booked. */
  #stop(outcome: LeaseOutcome): void {
    for (const leg of this.#legs) leg.cancel(outcome)
    this.#legs = []
    this.#finish(outcome)
  }

  #finish(outcome: LeaseOutcome): void {
    this.#timers.clear()
    this.#picked.letGo(outcome)
  }

  /** Runs what may throw (a selection's plugin, a request transform) where nobody above would catch. */
  #again(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.failed(toPhylloError(error), false)
    }
  }
}
