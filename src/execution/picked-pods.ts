/** The pods of a workflow's steps: picked, booked until they are sent to, and remembered where they failed. */
import { randomUUID } from 'node:crypto'
import { BOOK, NO_TICKET, OUTCOME, slotOf } from '../data/native.js'
import type { PodInfo } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import type { Refusal } from '../decision/plugin.js'
import type { Lease, LeaseOutcome } from './lease.js'
import type { SelectingProfile } from './selector.js'
import type { ExecutionParts } from './step-host.js'
import type { Step } from './workflow.js'

/** What pods are picked by. */
interface Chooser {
  readonly parts: Pick<ExecutionParts, 'selector' | 'pods'>
  readonly ctx: RoutingContext
  readonly profile: SelectingProfile
  readonly stepProfiles: ReadonlyMap<string, SelectingProfile>
  /** Slots that no step may use; absent: none. */
  readonly tried?: readonly number[] | undefined
}

export class PickedPods {
  readonly #chooser: Chooser
  /** Booked, and not sent to yet. */
  readonly #held = new Map<string, Lease>()
  /** Also of steps that were sent; the latest pick is the last. */
  readonly #pods = new Map<string, PodInfo>()
  readonly #tried = new Map<string, number[]>()
  /** Pods that may have been at fault for another's failure. */
  readonly #doubted = new Map<string, number[]>()

  constructor(chooser: Chooser) {
    this.#chooser = chooser
  }

  /** A workflow begins: what failed in another one counts there alone. Held pods stay, for its choice's sake. */
  begin(): void {
    this.#tried.clear()
    this.#doubted.clear()
    this.#pods.clear()
  }

  /** The pod picked for a step. */
  podOf(step: string): PodInfo | undefined {
    return this.#pods.get(step)
  }

  /** Pods that have failed in a step. */
  failures(step: string): number {
    return this.#tried.get(step)?.length ?? 0
  }

  /** Notes a failure; answers how many there are. */
  failed(step: string, pod: PodInfo | undefined): number {
    const tried = this.#tried.get(step) ?? []
    tried.push(pod === undefined ? -1 : slotOf(pod.ref))
    this.#tried.set(step, tried)
    return tried.length
  }

  /** The step's pod, which is answered, may be what another one failed of: others come first from now on. */
  doubt(step: string): PodInfo | undefined {
    const pod = this.#pods.get(step)
    if (pod !== undefined) this.#doubted.set(step, [...(this.#doubted.get(step) ?? []), slotOf(pod.ref)])
    return pod
  }

  newAttempt(): string {
    return randomUUID().replaceAll('-', '')
  }

  /** Books the step's best pod but for those that have failed in it. */
  acquire(step: Step): Lease | Refusal {
    return this.#acquire(step, [], true)
  }

  /**
   * Books a pod for a second copy of a request that one has already; undefined: there is none, or a selection's plugin
   * won't have it.
   */
  acquireBeside(step: Step, first: number): Lease | undefined {
    try {
      const lease = this.#acquire(step, [first], true)
      return typeof lease === 'string' ? undefined : lease
    } catch {
      return undefined
    }
  }

  /** The same for a step that may be picked again when it starts: nothing is expected of the pod's cache yet. */
  acquireEarly(step: Step): Lease | Refusal {
    return this.#acquire(step, [], step.repick !== true)
  }

  #acquire(step: Step, others: readonly number[], learns: boolean): Lease | Refusal {
    const { ctx, parts, profile, stepProfiles } = this.#chooser
    const pool = step.pool?.(ctx, parts.pods) ?? ctx.pool
    const selecting = step.profile === undefined ? profile : (stepProfiles.get(step.profile) ?? profile)
    ctx.earlierPick = this.#pickBefore(step)
    if (ctx.trace !== undefined) ctx.trace.step = step.name
    const failed = this.#tried.get(step.name) ?? []
    const { tried: never = [] } = this.#chooser
    const tried = others.length + never.length === 0 ? failed : [...failed, ...others, ...never]
    const { bookFlags } = selecting
    const flags = learns ? bookFlags : bookFlags & ~BOOK.learnPrefix
    const acquire = (): Lease | Refusal => {
      const doubted = this.#doubted.get(step.name)
      if (doubted !== undefined) {
        const lease = parts.selector.acquire(ctx, selecting, pool, [...tried, ...doubted], flags)
        if (typeof lease !== 'string') return lease
      }
      return parts.selector.acquire(ctx, selecting, pool, tried, flags)
    }
    return step.model === undefined ? acquire() : withoutTicket(ctx, acquire)
  }

  /** Keeps a booked pod for a step that is sent later. */
  hold(step: Step, lease: Lease): void {
    if (step.prefilled) lease.prefilledElsewhere()
    this.#held.set(step.name, lease)
    this.#pods.delete(step.name)
    this.#pods.set(step.name, lease.pod)
  }

  /** The same for the first step of the workflow that is entered next. */
  holdWhole(step: Step, lease: Lease): void {
    this.#held.set(step.name, lease)
  }

  /** Books pods for all steps that have none; gives all back and says why, where one finds none. */
  pickAll(steps: readonly Step[]): Refusal | undefined {
    for (const step of steps) {
      const held = this.#held.get(step.name)
      if (held !== undefined && !step.repick) {
        this.hold(step, held)
        continue
      }
      // Given back first, or its own booking would count against the pod.
      held?.release(OUTCOME.cancelled)
      this.#held.delete(step.name)
      const lease = this.acquire(step)
      if (typeof lease === 'string') {
        this.letGo(OUTCOME.cancelled)
        return lease
      }
      this.hold(step, lease)
    }
    return undefined
  }

  /** The pod booked for a step, to be sent to now. */
  take(step: string): Lease | undefined {
    const lease = this.#held.get(step)
    this.#held.delete(step)
    return lease
  }

  /** Gives back all that is booked and was not sent to. */
  letGo(outcome: LeaseOutcome): void {
    for (const lease of this.#held.values()) lease.release(outcome)
    this.#held.clear()
  }

  /** The latest pick of another step: a step that is picked again is no pick before itself. */
  #pickBefore({ name }: Step): PodInfo | undefined {
    let before: PodInfo | undefined
    for (const [step, pod] of this.#pods) if (step !== name) before = pod
    return before
  }
}

/** Runs work that must not see what was prepared: hashes of another model's blocks, tokens by another tokenizer. */
function withoutTicket<T>(ctx: RoutingContext, work: () => T): T {
  const { ticket } = ctx
  ctx.ticket = NO_TICKET
  try {
    return work()
  } finally {
    ctx.ticket = ticket
  }
}
