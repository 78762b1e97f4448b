/**
 * One request under way through a workflow of several steps, as its legs' answers come: one is the client's, others are
 * kept for later steps; what fails before anything went to the client is tried again (workflow-stages.ts). Whoever
 * answers first answers: the others are ended.
 */
import { OUTCOME } from '../data/native.js'
import type { PodInfo } from '../data/pod-view.js'
import { type ErrorCode, PhylloError, toPhylloError } from '../errors.js'
import type { Shortfall } from './events.js'
import type { LeaseOutcome } from './lease.js'
import type { Relay } from './relay.js'
import type { Leg } from './step-host.js'
import type { StepResult } from './workflow.js'
import { WorkflowStages } from './workflow-stages.js'

export class WorkflowRun extends WorkflowStages {
  /** The pod whose answer the client gets; before that, the one that was sent to last. */
  get pod(): PodInfo | undefined {
    return (this.legs.winner ?? this.legs.last)?.pod
  }
  get attempts(): number {
    return (this.legs.winner ?? this.legs.last)?.attempts ?? 0
  }
  get relay(): Relay | undefined {
    return this.legs.winner?.relay
  }

  /** Ends all of it from outside. */
  cancel(outcome: LeaseOutcome): void {
    if (this.over) return
    this.over = true
    this.stop(outcome)
  }

  /** Ends the legs whose deadline has passed; `now`: milliseconds of the clock. */
  check(now: number): void {
    this.legs.expire(now)
  }

  mayAnswer(leg: Leg): boolean {
    const legs = this.legs
    if (leg.status >= 400 && legs.winner === undefined && this.#goesOnWithout(leg)) return false
    if (legs.winner === undefined) {
      legs.wins(leg, this.parts.now())
      this.hedging.answered(leg)
    }
    if (legs.winner === leg) return true
    leg.cancel(OUTCOME.cancelled)
    return false
  }

  answering(): void {
    const { winner } = this.legs
    this.timers.clear()
    // An error answer is no step done: it is the client's fault, or was counted as the pod's.
    if ((winner?.status ?? 0) < 400) this.done(winner)
    this.host.answering()
  }

  kept(leg: Leg, result: StepResult | undefined, fault: string | undefined): void {
    if (this.over) return
    this.again(() => {
      if (fault === undefined) this.done(leg)
      // The client's answer is under way: it can't be this one, nor is anything tried again.
      if (this.legs.winner !== undefined) return
      if (fault !== undefined) this.#badResult(leg, fault)
      else if (result !== undefined && this.#isEnough(leg, result)) this.#suffices(leg, result)
      else if (this.legs.areDone) this.nextStage()
    })
  }

  takeOver(leg: Leg, cause: ErrorCode): boolean {
    if (this.over) return true
    if (this.legs.winner !== undefined) {
      // The answer is under way, or over: what else a leg does is its pod's matter alone.
      if (this.legs.winner === leg) return false
      leg.cancel(OUTCOME.failed)
      return true
    }
    return this.retry(leg, cause) || this.#skips(leg)
  }

  /** The request's body is gone once its answer is under way. */
  mayResend(): boolean {
    return this.legs.winner === undefined
  }

  relayed(leg: Leg, podFailed: boolean): void {
    if (this.over) return
    this.over = true
    this.legs.letGo()
    this.finish(OUTCOME.cancelled)
    this.host.relayed(leg, podFailed)
  }

  failed(error: PhylloError, begun: boolean, leg?: Leg): void {
    if (this.over || (leg !== undefined && !begun && this.#isNotNeeded(leg, error.code))) return
    if (leg !== undefined) this.hedging.failed(leg)
    // What failed before it answered was told when the next pod was looked for.
    if (leg !== undefined && leg === this.legs.winner) this.done(leg, error.code)
    this.over = true
    this.stop(OUTCOME.cancelled)
    this.host.failed(error, begun, leg)
  }

  #isEnough({ step }: Leg, result: StepResult): boolean {
    if (step.suffices === undefined) return false
    let verdict: true | Shortfall = 'unreadable'
    try {
      verdict = step.suffices(result, this.ctx)
    } catch (error) {
      this.ctx.trace?.took(this.place.workflow.name, `step '${step.name}': ${toPhylloError(error).message}`)
    }
    this.parts.events.onJudged(this.ctx, verdict === true ? 'sufficed' : verdict)
    return verdict === true
  }

  #suffices(leg: Leg, result: StepResult): void {
    this.over = true
    this.legs.winner = leg
    this.stop(OUTCOME.cancelled)
    this.host.answer(result)
  }

  #badResult(leg: Leg, fault: string): void {
    const error = new PhylloError(
      'pod_bad_response',
      `pod ${leg.pod?.id ?? ''}, step '${leg.step.name}': ${fault}`,
    )
    if (!this.retry(leg, error.code) && !this.#skips(leg)) this.failed(error, false, leg)
  }

  /** Whether an error answer of that leg is not the client's: another pod may still do better, or nobody needs it. */
  #goesOnWithout(leg: Leg): boolean {
    if (this.legs.hasTwin(leg)) {
      this.hedging.failed(leg)
      leg.letGo()
      return true
    }
    if (leg.step.skip === undefined) return false
    leg.letGo()
    this.again(() => this.skip(leg.step, 'failed'))
    return true
  }

  /** Whether a leg that fails of a fault of the router's own, and not of its pod, is nobody's loss; ends it then. */
  #isNotNeeded(leg: Leg, cause: ErrorCode): boolean {
    const { winner } = this.legs
    if (leg === winner) return false
    if (winner === undefined && !this.legs.hasTwin(leg)) return this.#skips(leg, OUTCOME.cancelled)
    if (winner === undefined) this.done(leg, cause)
    this.hedging.failed(leg)
    leg.cancel(OUTCOME.cancelled)
    return true
  }

  /** Ends a leg that failed, and goes on without its step where the workflow can. */
  #skips(leg: Leg, outcome: LeaseOutcome = OUTCOME.failed): boolean {
    if (leg.step.skip === undefined) return false
    leg.cancel(outcome)
    this.again(() => this.skip(leg.step, 'failed'))
    return true
  }
}
