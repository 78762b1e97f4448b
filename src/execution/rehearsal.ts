/**
 * A request's way through its workflow as far as it can be told before anything is sent: which way, and each step's
 * selection. The executor's own code decides (enter-workflow.ts), but nothing is booked, so that a pod may be the pick of
 * two steps; for explanations.
 */
import type { LatencyWeights } from '../data/latency-weights.js'
import { MAX_SLOTS, NO_TICKET, SUMMARY, SUMMARY_WORDS, slotOf } from '../data/native.js'
import type { PodInfo, PodView } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import type { Refusal } from '../decision/plugin.js'
import { Ranking } from '../decision/ranking.js'
import type { Trace } from '../decision/trace.js'
import { type Entered, enterWorkflow, type Picked, type Picks, withoutPod } from './enter-workflow.js'
import type { ExecutionRoute } from './route.js'
import type { Step, Workflow } from './workflow.js'

/** What choices are made from, as they are for requests (`ChoiceInput`). */
export interface RehearsalParts {
  readonly pods: PodView
  readonly latency: LatencyWeights
}

/** The context must be prepared, and have the trace. Throws what a plugin throws. */
export function rehearse(
  ctx: RoutingContext,
  route: ExecutionRoute,
  { pods, latency }: RehearsalParts,
  trace: Trace,
): void {
  const picked = new Selections(ctx, route, pods, trace)
  const parts = { ctx, pods, selector: { latency }, picked }
  let asked: Workflow | undefined = route.workflow
  while (asked !== undefined) {
    const entered: Entered = enterWorkflow(asked, parts)
    if (entered.refusal !== undefined || picked.goThrough(entered.workflow)) return
    asked = withoutPod(entered.workflow, parts)
  }
}

/** Picks that are only selected. */
class Selections implements Picks<Picked> {
  readonly #ranking = new Ranking()
  readonly #held = new Set<string>()
  #earlier: PodInfo | undefined

  constructor(
    private readonly ctx: RoutingContext,
    private readonly route: ExecutionRoute,
    private readonly pods: PodView,
    private readonly trace: Trace,
  ) {}

  /** Selects for all stages. False: a step that is needed has no pod. */
  goThrough({ stages }: Workflow): boolean {
    return stages.every(({ steps }) => this.pickAll(steps) === undefined || steps[0]?.skip !== undefined)
  }

  begin(): void {
    this.#earlier = undefined
  }

  acquireEarly(step: Step): Picked | Refusal {
    const pod = this.#select(step)
    return typeof pod === 'string' ? pod : { pod, uncachedTokens: this.#uncached(pod) }
  }

  hold(step: Step): void {
    this.#held.add(step.name)
  }

  holdWhole(step: Step): void {
    this.#held.add(step.name)
  }

  pickAll(steps: readonly Step[]): Refusal | undefined {
    for (const step of steps) {
      if (this.#held.has(step.name) && !step.repick) continue
      const pod = this.#select(step)
      if (typeof pod === 'string') return pod
      this.hold(step)
    }
    return undefined
  }

  letGo(): void {
    this.#held.clear()
  }

  #select(step: Step): PodInfo | Refusal {
    const { ctx, pods, route, trace } = this
    const pool = step.pool?.(ctx, pods) ?? ctx.pool
    const profile = route.stepProfiles.get(step.profile ?? '') ?? route.profile
    ctx.earlierPick = this.#earlier
    trace.step = step.name
    const outcome = profile.select(ctx, pool, this.#ranking, trace)
    if (outcome !== 'picked') return outcome
    const pod = pods.bySlot(this.#ranking.slots[0] ?? MAX_SLOTS)
    if (pod === undefined) return 'no_pod'
    this.#earlier = pod
    return pod
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
