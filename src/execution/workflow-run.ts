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
import type { Lease, LeaseOutcome } from './lease.js'
import { LegTimers } from './leg-timers.js'
import { PickedPods } from './picked-pods.js'
import type { Relay } from './relay.js'
import { mayRetry } from './retry.js'
import type { SelectingProfile } from './selector.js'
import type { ClientSink } from './sink.js'
import type { StepPeers } from './step-input.js'
import { type ExecuteOptions, type ExecutionParts, type StepHost, StepRun } from './step-run.js'
import type { Stage, StepResult, Workflow } from './workflow.js'

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

export class WorkflowRun implements StepHost, StepPeers {
  readonly #host: WorkflowHost
  #workflow: Workflow
  readonly #picked: PickedPods
  readonly #timers = new LegTimers()
  #at = 0
  #legs: StepRun[] = []
  /** The leg whose answer is the client's. */
  #winner: StepRun | undefined
  #last: StepRun | undefined
  #over = false
  attemptId = ''

  constructor(host: WorkflowHost, workflow: Workflow) {
    this.#host = host
    this.#workflow = workflow
    this.#picked = new PickedPods(host)
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
      const { deadlineMs = 0, output } = leg.step
      const isDue = deadlineMs > 0 && !leg.over && now - leg.sentAt > deadlineMs
      if (isDue && !(output === 'relay' && leg.answered)) leg.expire()
    }
  }

  // StepHost

  picked(): void {
    this.#host.picked()
  }

  mayAnswer(run: StepRun): boolean {
    if (this.#winner === undefined) {
      this.#winner = run
      this.#endOthers(run)
    }
    if (this.#winner === run) return true
    run.cancel(OUTCOME.cancelled)
    return false
  }

  answering(): void {
    this.#timers.clear()
    this.#host.answering()
  }

  kept(run: StepRun, result: StepResult | undefined, fault: string | undefined): void {
    if (this.#over) return
    this.#again(() => {
      if (fault !== undefined && this.#winner === undefined) this.#badResult(run, fault)
      else if (result !== undefined && run.step.suffices?.(result, this.ctx)) this.#suffices(run, result)
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
    return this.#retry(run, cause)
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
    if (this.#over) return
    this.#over = true
    this.#stop(OUTCOME.cancelled)
    this.#host.failed(error, begun, run)
  }

  #enter(asked: Workflow): void {
    const { ctx, parts } = this.#host
    const picked = this.#picked
    const { workflow, refusal } = enterWorkflow(asked, { ...parts, ctx, picked })
    this.#workflow = workflow
    this.#at = 0
    if (refusal === undefined) this.#runStage()
    else this.failed(selectionError(refusal, ctx), false)
  }

  #refused(refusal: Refusal): void {
    const fallback = withoutPod(this.#workflow, { ctx: this.ctx, picked: this.#picked })
    if (fallback !== undefined) this.#enter(fallback)
    else this.failed(selectionError(refusal, this.ctx), false)
  }

  #runStage(): void {
    const stage: Stage | undefined = this.#workflow.stages[this.#at]
    if (stage === undefined) throw new PhylloError('internal_error', 'a workflow ran past its last stage')
    const refusal = this.#picked.pickAll(stage.steps)
    if (refusal !== undefined) return this.#refused(refusal)
    this.attemptId = this.#picked.newAttempt()
    this.#legs = stage.steps.map(step => new StepRun(this, step))
    // Of those sent, one may fail at once and end the others.
    const legs = this.#legs
    for (const leg of legs) {
      if (this.#legs !== legs || this.#winner !== undefined) break
      this.#send(leg)
    }
  }

  #send(leg: StepRun): void {
    const { step } = leg
    const lease = this.#picked.take(step.name)
    if (lease === undefined) throw new PhylloError('internal_error', `step '${step.name}' has no pod`)
    if (step.prefilled) lease.prefilledElsewhere()
    this.#last = leg
    leg.startOn(lease, this.#picked.failures(step.name))
    const wait = step.hedgeAfterMs?.(this.ctx)
    if (wait !== undefined) this.#timers.set(wait, () => this.#again(() => this.#hedge(leg, lease)))
  }

  /** Nothing has come of the first: a second pod gets the request too. */
  #hedge(leg: StepRun, first: Lease): void {
    if (this.#over || leg.over || this.#winner !== undefined) return
    const lease = this.#picked.acquire(leg.step, [slotOf(first.ref)])
    if (typeof lease === 'string') return
    const second = new StepRun(this, leg.step)
    this.#legs.push(second)
    second.startOn(lease, leg.attempts)
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
    if (!this.#retry(run, error.code)) this.failed(error, false, run)
  }

  /** To the next stage, once all of this one is done. */
  #advance(): void {
    if (this.#winner !== undefined || this.#legs.some(leg => !leg.over)) return
    // The relaying leg of the last stage ends it all; this is one of those before.
    if (this.#legs.some(leg => leg.step.output === 'relay')) return
    this.#at++
    this.#runStage()
  }

  /** Goes on without the pod that failed. False: that can't be. */
  #retry(run: StepRun, cause: ErrorCode): boolean {
    const { step, pod } = run
    if (this.#legs.some(leg => leg !== run && leg.step === step && !leg.over)) {
      run.cancel(OUTCOME.failed)
      return true
    }
    const failures = this.#picked.failed(step.name, pod)
    if (!mayRetry(errorCatalogue[cause], step.onFailure, failures)) return false
    const next = this.#picked.acquire(step)
    const { fallback, stages } = this.#workflow
    if (typeof next === 'string' && fallback === undefined) return false
    run.cancel(OUTCOME.failed)
    this.#stop(OUTCOME.cancelled)
    if (pod !== undefined) this.parts.events.onRetry(this.ctx, pod, cause)
    const goOn = (): void => {
      if (typeof next === 'string') return this.#refused(next)
      this.#picked.hold(step, next)
      this.#at = this.#restartOf(stages, cause)
      this.#runStage()
    }
    this.#again(goOn)
    return true
  }

  /** A pod that was never reached has not taken what earlier stages left for it. */
  #restartOf(stages: readonly Stage[], cause: ErrorCode): number {
    const again = stages[this.#at]?.restartAt ?? this.#at
    return cause === 'pod_unreachable' ? this.#at : again
  }

  #endOthers(winner: StepRun): void {
    const isError = winner.step.output !== 'relay' || winner.status >= 400
    for (const leg of this.#legs) {
      if (leg === winner) continue
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
