/**
 * A request's way through its workflow as far as it can be told before anything is sent: which way, and each step's
 * selection. Nothing is booked, so that a pod may be the pick of two steps; for explanations.
 */

import type { LatencyWeights } from '../data/latency-weights.js'
import { MAX_SLOTS, NO_TICKET, SUMMARY, SUMMARY_WORDS, slotOf } from '../data/native.js'
import type { PodInfo, PodView } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import { Ranking } from '../decision/ranking.js'
import type { Trace } from '../decision/trace.js'
import type { ExecutionRoute } from './route.js'
import { type Step, stepsOf, type Workflow } from './workflow.js'

/** The context must be prepared. Throws what a plugin throws. */
export function rehearse(
  ctx: RoutingContext,
  route: ExecutionRoute,
  { pods, latency }: RehearsalParts,
  trace: Trace,
): void {
  new Rehearsal(ctx, route, pods, latency, trace).walk(route.workflow)
}

/** What choices are made from, as they are for requests (`ChoiceInput`). */
export interface RehearsalParts {
  readonly pods: PodView
  readonly latency: LatencyWeights
}

class Rehearsal {
  readonly #ranking = new Ranking()
  #earlier: PodInfo | undefined

  constructor(
    private readonly ctx: RoutingContext,
    private readonly route: ExecutionRoute,
    private readonly pods: PodView,
    private readonly latency: LatencyWeights,
    private readonly trace: Trace,
  ) {}

  walk(workflow: Workflow): void {
    const { name, choice, fallback } = workflow
    const why = workflow.unfit?.(this.ctx)
    if (why !== undefined && fallback !== undefined) return this.#turnTo(fallback, why)
    const steps = stepsOf(workflow)
    const chooser = steps.find(step => step.name === choice?.step)
    if (choice !== undefined && chooser !== undefined) {
      const pod = this.#select(chooser)
      if (pod === undefined) return this.#refused(workflow)
      const uncachedTokens = this.#uncached(pod)
      const { ctx, pods, latency } = this
      const input = { ctx, pod, uncachedTokens, pods, latency }
      const direct = choice.why(input)
      if (direct !== undefined) return this.#turnTo(choice.otherwise, direct)
      this.trace.took(name, choice.whyNot?.(input) ?? `${uncachedTokens} uncached tokens on ${pod.id}`)
    }
    for (const step of steps) {
      const isNeeded = step.skip === undefined
      if (this.#select(step) === undefined && isNeeded) return this.#refused(workflow)
    }
  }

  #turnTo(workflow: Workflow, why: string): void {
    this.trace.took(workflow.name, why)
    this.#earlier = undefined
    this.walk(workflow)
  }

  #refused({ name, fallback }: Workflow): void {
    if (fallback !== undefined) this.#turnTo(fallback, `${name}: a step has no pod to go to`)
  }

  #select(step: Step): PodInfo | undefined {
    const { ctx, pods, route, trace } = this
    const pool = step.pool?.(ctx, pods) ?? ctx.pool
    const profile = route.stepProfiles.get(step.profile ?? '') ?? route.profile
    ctx.earlierPick = this.#earlier
    trace.step = step.name
    const outcome = profile.select(ctx, pool, this.#ranking, trace)
    if (outcome !== 'picked') return undefined
    this.#earlier = pods.bySlot(this.#ranking.slots[0] ?? MAX_SLOTS)
    return this.#earlier
  }

  /** As a booking would count them. */
  #uncached(pod: PodInfo): number {
    const { ctx } = this
    if (ctx.ticket === NO_TICKET) return 0
    const { native } = ctx.lane
    const words = new Uint32Array(SUMMARY_WORDS)
    native.summary(ctx.ticket, words)
    const cached = new Uint32Array(MAX_SLOTS)
    native.cachedTokens(ctx.ticket, cached)
    return Math.max((words[SUMMARY.promptTokens] ?? 0) - (cached[slotOf(pod.ref)] ?? 0), 0)
  }
}
