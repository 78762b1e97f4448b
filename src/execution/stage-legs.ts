/** The legs of a stage, which run together: who answers first answers, and the others are ended. */
import { OUTCOME } from '../data/native.js'
import type { RoutingContext } from '../decision/context.js'
import type { LeaseOutcome } from './lease.js'
import type { Leg } from './step-host.js'
import { deadlineOf } from './workflow.js'

export class StageLegs {
  /** The leg whose answer is the client's. */
  winner: Leg | undefined
  /** The one that was sent last. */
  last: Leg | undefined
  #legs: Leg[] = []

  constructor(private readonly ctx: RoutingContext) {}

  /** Those of another stage; the winner stays. */
  replace(legs: Leg[]): void {
    this.#legs = legs
  }

  add(leg: Leg): void {
    this.#legs.push(leg)
  }

  /** Still these, and nobody has answered. */
  isRacing(legs: readonly Leg[]): boolean {
    return this.#legs === legs && this.winner === undefined
  }

  /** All are over, and none of them answers the client: a relaying one ends the request instead. */
  get areDone(): boolean {
    return this.winner === undefined && this.#legs.every(({ over, step }) => over && step.output !== 'relay')
  }

  /** Another pod tries the same step. */
  hasTwin(leg: Leg): boolean {
    return this.#legs.some(other => other !== leg && other.step === leg.step && !other.over)
  }

  /** Its answer is the client's. `now`: milliseconds of the clock. */
  wins(winner: Leg, now: number): void {
    this.winner = winner
    const isError = winner.step.output !== 'relay' || winner.status >= 400
    for (const leg of this.#legs) {
      if (leg === winner) continue
      const isSlower = leg.step === winner.step && leg.sentAt <= winner.sentAt && !leg.over
      if (isSlower && !isError) leg.step.hedge?.sample(this.ctx, now - leg.sentAt)
      // A leg that the answer rests on goes on to its end; of two that try the same, or besides an error, none does.
      if (isError || leg.step === winner.step || leg.step.output === 'relay') leg.cancel(OUTCOME.cancelled)
    }
  }

  /** Ends those whose deadline has passed; `now`: milliseconds of the clock. */
  expire(now: number): void {
    for (const leg of this.#legs) {
      const deadlineMs = deadlineOf(leg.step, this.ctx)
      const isDue = deadlineMs > 0 && !leg.over && now - leg.sentAt > deadlineMs
      if (isDue && !(leg.step.output === 'relay' && leg.answered)) leg.expire()
    }
  }

  /** What a leg still has to say is for nobody: the answer that rests on it is whole. */
  letGo(): void {
    for (const leg of this.#legs) leg.letGo()
  }

  cancel(outcome: LeaseOutcome): void {
    for (const leg of this.#legs) leg.cancel(outcome)
    this.#legs = []
  }
}
