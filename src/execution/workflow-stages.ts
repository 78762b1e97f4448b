/**
 * The stages of a workflow that a request goes through: enters it, books the pods of a stage, sends its steps together,
 * and when a pod fails before anything went to the client, ends the other legs at once and begins again on the next
 * pods, or turns to the fallback. What becomes of the legs' answers is the subclass's (workflow-run.ts).
 */
import { OUTCOME, slotOf } from '../data/native.js'
import type { PodInfo } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import { selectionError } from '../decision/outcome.js'
import type { Refusal } from '../decision/plugin.js'
import { type ErrorCode, PhylloError, toPhylloError } from '../errors.js'
import { enterWorkflow, withoutPod } from './enter-workflow.js'
import type { Way } from './events.js'
import { Hedging } from './hedging.js'
import type { Lease, LeaseOutcome } from './lease.js'
import { LegTimers } from './leg-timers.js'
import { PickedPods } from './picked-pods.js'
import type { SelectingProfile } from './selector.js'
import type { ClientSink } from './sink.js'
import { StageLegs } from './stage-legs.js'
import { beginAgain, nextPod } from './stage-retry.js'
import type { ExecuteOptions, ExecutionParts, Leg, StepHost } from './step-host.js'
import type { StepPeers } from './step-input.js'
import { StepRun } from './step-run.js'
import type { Stage, Step, StepResult, Workflow } from './workflow.js'
import type { WorkflowHost } from './workflow-host.js'
import { WorkflowPlace } from './workflow-place.js'

export abstract class WorkflowStages implements StepHost, StepPeers {
  protected readonly host: WorkflowHost
  protected readonly place: WorkflowPlace
  protected readonly pickedPods: PickedPods
  protected readonly legs: StageLegs
  protected readonly timers = new LegTimers()
  protected readonly hedging: Hedging
  protected over = false
  /** Not told yet. */
  #way: Way | undefined
  attemptId = ''

  constructor(host: WorkflowHost, workflow: Workflow) {
    this.host = host
    this.place = new WorkflowPlace(workflow, host.parts.now)
    this.pickedPods = new PickedPods(host)
    this.legs = new StageLegs(host.ctx)
    this.hedging = new Hedging(host.parts.events, host.ctx)
  }

  get parts(): ExecutionParts {
    return this.host.parts
  }
  get ctx(): RoutingContext {
    return this.host.ctx
  }
  get profile(): SelectingProfile {
    return this.host.profile
  }
  get sink(): ClientSink {
    return this.host.sink
  }
  get options(): ExecuteOptions {
    return this.host.options
  }
  get peers(): StepPeers {
    return this
  }
  podOf(step: string): PodInfo | undefined {
    return this.pickedPods.podOf(step)
  }

  start(): void {
    this.#enter(this.place.workflow)
  }

  picked(): void {
    this.host.picked()
  }

  #enter(asked: Workflow, turned?: Way): void {
    const { ctx, parts } = this.host
    this.attemptId = this.pickedPods.newAttempt()
    const { workflow, way, refusal } = enterWorkflow(
      asked,
      { ...parts, ctx, picked: this.pickedPods },
      turned,
    )
    this.place.enter(workflow)
    this.#way = way
    if (refusal === undefined) this.#runStage()
    else this.failed(selectionError(refusal, ctx), false)
  }

  #refused(refusal: Refusal): void {
    const fallback = withoutPod(this.place.workflow, { ctx: this.ctx, picked: this.pickedPods })
    if (fallback !== undefined) this.#enter(fallback, 'fallback')
    else this.failed(selectionError(refusal, this.ctx), false)
  }

  #runStage(): void {
    const { stage } = this.place
    const [step] = stage.steps
    const refusal = this.#pick(stage)
    if (refusal !== undefined && step?.skip !== undefined) return this.skip(step, 'no_pod')
    if (refusal !== undefined) return this.#refused(refusal)
    this.#tellWay()
    const legs = stage.steps.map(step => new StepRun(this, step))
    this.legs.replace(legs)
    // Of those sent, one may fail at once and end the others.
    for (const leg of legs) {
      if (!this.legs.isRacing(legs)) break
      this.#send(leg)
    }
  }

  #tellWay(): void {
    if (this.#way !== undefined) this.parts.events.onWay(this.ctx, this.#way)
    this.#way = undefined
  }

  /** Tells of a step's end. */
  protected done(leg: Leg | undefined, cause?: ErrorCode): void {
    if (leg !== undefined)
      this.parts.events.onStep(this.ctx, leg.step.name, this.parts.now() - leg.sentAt, cause)
  }

  #send(leg: Leg): void {
    const { step } = leg
    const lease = this.pickedPods.take(step.name)
    if (lease === undefined) throw new PhylloError('internal_error', `step '${step.name}' has no pod`)
    this.legs.last = leg
    if (!this.#start(leg, lease, this.pickedPods.failures(step.name))) return
    const wait = step.hedge?.afterMs(this.ctx)
    if (wait !== undefined) this.timers.set(wait, () => this.#hedge(leg, lease))
  }

  /** Sends. What a request transform throws is the leg's failure, and the request's only where that needs the leg. */
  #start(leg: Leg, lease: Lease, attempts: number): boolean {
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
      return this.pickedPods.pickAll(steps)
    } catch (error) {
      if (steps[0]?.skip === undefined) throw error
      return 'no_pod'
    }
  }

  /** Nothing has come of the first: a second pod gets the request too. */
  #hedge(leg: Leg, first: Lease): void {
    if (this.over || leg.over || this.legs.winner !== undefined) return
    if (!this.#maySpend(leg)) return this.hedging.missed('refused')
    const lease = this.pickedPods.acquireBeside(leg.step, slotOf(first.ref))
    if (lease === undefined) return this.hedging.missed('no_pod')
    this.ctx.trace?.took(
      this.place.workflow.name,
      `pod ${first.pod.id} was silent, so ${lease.pod.id} was asked too`,
    )
    const second = new StepRun(this, leg.step)
    this.legs.add(second)
    this.hedging.sent(second)
    this.#start(second, lease, leg.attempts)
  }

  /** What a hedge's own code throws in a timer would end the worker: there is no second copy then. */
  #maySpend({ step }: Leg): boolean {
    try {
      return step.hedge?.spend() === true
    } catch (error) {
      this.ctx.trace?.took(this.place.workflow.name, `step '${step.name}': ${toPhylloError(error).message}`)
      return false
    }
  }

  protected skip(step: Step, why: 'failed' | 'no_pod'): void {
    if (step.suffices !== undefined) this.parts.events.onJudged(this.ctx, why)
    this.ctx.trace?.took(this.place.workflow.name, `step '${step.name}' came to nothing, and is not needed`)
    step.skip?.(this.ctx)
    this.legs.replace([])
    this.nextStage()
  }

  protected nextStage(): void {
    this.place.next()
    this.#runStage()
  }

  /** Goes on without the pod that failed. False: that can't be. */
  protected retry(leg: Leg, cause: ErrorCode): boolean {
    const { step, pod } = leg
    this.done(leg, cause)
    this.hedging.failed(leg)
    const failures = this.pickedPods.failed(step.name, pod)
    if (this.legs.hasTwin(leg)) {
      leg.cancel(OUTCOME.failed)
      return true
    }
    const parts = { picked: this.pickedPods, place: this.place, ctx: this.ctx, events: this.parts.events }
    const next = nextPod(step, cause, failures, parts)
    if (next === undefined) return false
    leg.cancel(OUTCOME.failed)
    this.stop(OUTCOME.cancelled)
    if (pod !== undefined) this.parts.events.onRetry(this.ctx, pod, cause)
    this.again(() => {
      if (typeof next === 'string') return this.#refused(next)
      const { attemptId, refusal } = beginAgain(step, next, cause, parts)
      this.attemptId = attemptId ?? this.attemptId
      if (refusal !== undefined) this.#refused(refusal)
      else this.#runStage()
    })
    return true
  }

  /** Ends all legs, and gives back what is booked. */
  protected stop(outcome: LeaseOutcome): void {
    this.legs.cancel(outcome)
    this.finish(outcome)
  }

  protected finish(outcome: LeaseOutcome): void {
    this.timers.clear()
    this.pickedPods.letGo(outcome)
  }

  /** Runs what may throw (a selection's plugin, a request transform) where nobody above would catch. */
  protected again(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.failed(toPhylloError(error), false)
    }
  }

  abstract mayAnswer(leg: Leg): boolean
  abstract answering(): void
  abstract kept(leg: Leg, result: StepResult | undefined, fault: string | undefined): void
  abstract takeOver(leg: Leg, cause: ErrorCode): boolean
  abstract mayResend(): boolean
  abstract relayed(leg: Leg, podFailed: boolean): void
  abstract failed(error: PhylloError, begun: boolean, leg?: Leg): void
}
