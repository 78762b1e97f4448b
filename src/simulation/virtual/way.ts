/**
 * A request's way through its workflow in virtual time: which workflow serves it, and which pods its steps are booked on.
 * The executor's own code decides (enter-workflow.ts, picked-pods.ts); sending is the simulation's.
 */
import { OUTCOME, type Ticket } from '../../data/native.js'
import type { PodView } from '../../data/pod-view.js'
import type { RoutingContext } from '../../decision/context.js'
import type { Refusal } from '../../decision/plugin.js'
import { enterWorkflow, withoutPod } from '../../execution/enter-workflow.js'
import type { Lease } from '../../execution/lease.js'
import { PickedPods } from '../../execution/picked-pods.js'
import type { ExecutionRoute } from '../../execution/route.js'
import type { Selector } from '../../execution/selector.js'
import { type Step, stepsOf, type Workflow } from '../../execution/workflow.js'

/** What a pod does for a step: all of the request, its prompt, or its answer from a prompt computed elsewhere. */
export type LegKind = 'whole' | 'prefill' | 'decode'

/** A step, booked on a pod. */
export interface Leg {
  readonly kind: LegKind
  readonly lease: Lease
  readonly step: Step
}

export interface WayParts {
  readonly ctx: RoutingContext
  readonly route: ExecutionRoute
  readonly selector: Selector
  readonly pods: PodView
}

export class Way {
  readonly #parts: WayParts
  readonly #picked: PickedPods
  #workflow: Workflow
  #at = 0

  constructor(parts: WayParts) {
    const { ctx, route, selector, pods } = parts
    this.#parts = parts
    this.#workflow = route.workflow
    this.#picked = new PickedPods({ ...route, ctx, parts: { selector, pods } })
  }

  /** Of the workflow that it goes by, which may be another one than the profile names. */
  get workflow(): string {
    return this.#workflow.name
  }

  get isLastStage(): boolean {
    return this.#at >= this.#workflow.stages.length - 1
  }

  /** The legs of the first stage. */
  start(): readonly Leg[] | Refusal {
    return this.#enter(this.#workflow)
  }

  /** The legs of the next stage, once all of this one is done. */
  next(): readonly Leg[] | Refusal {
    this.#at++
    return this.#stage()
  }

  /** Gives back what is booked for steps to come. */
  letGo(): void {
    this.#picked.letGo(OUTCOME.cancelled)
  }

  /** What was prepared, for the caller to drop. The context can be given back after it. */
  takeTicket(): Ticket {
    return this.#parts.ctx.takeTicket()
  }

  #enter(asked: Workflow): readonly Leg[] | Refusal {
    const { workflow, refusal } = enterWorkflow(asked, { ...this.#parts, picked: this.#picked })
    this.#workflow = workflow
    this.#at = 0
    return refusal ?? this.#stage()
  }

  #stage(): readonly Leg[] | Refusal {
    const steps = this.#workflow.stages[this.#at]?.steps ?? []
    const refusal = this.#picked.pickAll(steps)
    if (refusal === undefined) return steps.map(step => this.#legOf(step))
    const fallback = withoutPod(this.#workflow, { ctx: this.#parts.ctx, picked: this.#picked })
    return fallback === undefined ? refusal : this.#enter(fallback)
  }

  #legOf(step: Step): Leg {
    const lease = this.#picked.take(step.name)
    const kind = kindOf(step)
    if (lease === undefined || kind === undefined) throw new Error(`unreachable: step '${step.name}'`)
    return { kind, lease, step }
  }
}

function kindOf({ output, prefilled, samples }: Step): LegKind | undefined {
  if (samples === 'prefill') return 'prefill'
  if (output !== 'relay') return undefined
  return prefilled ? 'decode' : 'whole'
}

/** The name of a workflow that is made of more than the simulation knows; undefined: it knows all of it. */
export function unknownPart(workflow: Workflow): string | undefined {
  const steps = stepsOf(workflow)
  const isKnown = steps.every(
    step =>
      kindOf(step) !== undefined &&
      step.hedge === undefined &&
      step.suffices === undefined &&
      step.skip === undefined &&
      step.model === undefined,
  )
  const decodes = steps.filter(step => kindOf(step) === 'decode').length
  const prefills = steps.filter(step => kindOf(step) === 'prefill').length
  if (!isKnown || decodes > 1 || prefills !== decodes) return workflow.name
  for (const other of [workflow.choice?.otherwise, workflow.whole, workflow.fallback]) {
    const part = other && unknownPart(other)
    if (part !== undefined) return part
  }
  return undefined
}
