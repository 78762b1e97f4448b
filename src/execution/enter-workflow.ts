/**
 * Which workflow serves a request: past those that it does not fit, by the choice between the long way and the short
 * one, to the fallback of one that finds no pod. Pure of sending, so that simulations and explanations decide as the
 * executor does.
 */
import type { LatencyWeights } from '../data/latency-weights.js'
import { MAX_SLOTS, OUTCOME } from '../data/native.js'
import type { PodInfo, PodView } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import type { Refusal } from '../decision/plugin.js'
import { PhylloError } from '../errors.js'
import type { Way } from './events.js'
import type { LeaseOutcome } from './lease.js'
import { type Step, stepsOf, type Workflow } from './workflow.js'

/** What a choice reads of a pick. */
export interface Picked {
  readonly pod: PodInfo
  /** Prompt tokens that the pod would have to compute. */
  readonly uncachedTokens: number
}

/** Who picks: `PickedPods` books, an explanation does not. */
export interface Picks<P extends Picked> {
  /** A workflow begins. */
  begin(): void
  acquireEarly(step: Step): P | Refusal
  hold(step: Step, pick: P): void
  holdWhole(step: Step, pick: P): void
  pickAll(steps: readonly Step[]): Refusal | undefined
  letGo(outcome: LeaseOutcome): void
}

export interface EntryParts<P extends Picked> {
  readonly ctx: RoutingContext
  readonly pods: PodView
  readonly selector: { readonly latency: LatencyWeights | undefined }
  readonly picked: Picks<P>
}

/** The workflow that a request goes by, with pods booked as far as it wants them in advance. */
export interface Entered {
  readonly workflow: Workflow
  readonly way: Way
  /** One of its steps has no pod, and nothing else serves the request. Nothing is booked then. */
  readonly refusal: Refusal | undefined
}

/** Where a request turns to. */
interface Turn {
  readonly workflow: Workflow
  readonly way: Way
}

/**
 * Notes in the request's trace where it turns, and why. `turned`: how the request came to the workflow; absent where it is
 * the one that was asked for.
 *
 * @throws PhylloError invalid_request for a request that can't be split, where no pod serves whole ones; and what a
 * selection's plugin throws
 */
export function enterWorkflow<P extends Picked>(
  asked: Workflow,
  parts: EntryParts<P>,
  turned?: Way,
): Entered {
  let workflow = asked
  let way = turned ?? (stepsOf(asked).length > 1 ? 'split' : 'direct')
  for (;;) {
    parts.picked.begin()
    const next = turnOf(workflow, parts)
    if (next === undefined || typeof next === 'string') return { workflow, way, refusal: next }
    workflow = next.workflow
    way = next.way
  }
}

/** Where a request goes when a step of the workflow has no pod; gives back all that is booked for it. */
export function withoutPod<P extends Picked>(
  { name, fallback }: Workflow,
  { ctx, picked }: Pick<EntryParts<P>, 'ctx' | 'picked'>,
): Workflow | undefined {
  picked.letGo(OUTCOME.cancelled)
  if (fallback !== undefined) ctx.trace?.took(fallback.name, `${name}: a step has no pod to go to`)
  return fallback
}

/** Undefined: stay. */
function turnOf<P extends Picked>(workflow: Workflow, parts: EntryParts<P>): Turn | Refusal | undefined {
  const { ctx, picked } = parts
  const { fallback, picksAhead, unfit, whole } = workflow
  const why = unfit?.(ctx)
  const other = fallback ?? whole
  if (why !== undefined && other !== undefined) {
    if (whole !== undefined && isForNobody(other, parts)) throw unservable(ctx, why)
    ctx.trace?.took(other.name, why)
    return { workflow: other, way: 'fallback' }
  }
  const chosen = chosenOf(workflow, parts)
  if (chosen !== undefined) return typeof chosen === 'string' ? orRefusal(workflow, parts, chosen) : chosen
  const refusal = picksAhead ? picked.pickAll(stepsOf(workflow)) : undefined
  return refusal === undefined ? undefined : orRefusal(workflow, parts, refusal)
}

/**
 * Whether a workflow is one step for whole requests, and none of the model's pods serves these, now or when all are well:
 * they are all there for one step. Without any that decodes either, the pods are missing and not the request wrong.
 */
function isForNobody<P extends Picked>(other: Workflow, { ctx, pods }: EntryParts<P>): boolean {
  const [step, second] = stepsOf(other)
  if (second !== undefined || step?.pool !== undefined || step?.model !== undefined) return false
  const { pool, model } = ctx
  for (let i = 0; i < pool.length; i++) if (pods.servesWhole(pool.slots[i] ?? MAX_SLOTS)) return false
  return pods.stepPool(model, 'decode').length > 0
}

function unservable({ model }: RoutingContext, why: string): PhylloError {
  const text = `the request cannot be split over two pods (${why}), and no pod serves whole requests of '${model}': that takes one of role mixed`
  return new PhylloError('invalid_request', text)
}

function orRefusal<P extends Picked>(
  workflow: Workflow,
  parts: EntryParts<P>,
  refusal: Refusal,
): Turn | Refusal {
  const fallback = withoutPod(workflow, parts)
  return fallback === undefined ? refusal : { workflow: fallback, way: 'fallback' }
}

/** Picks tentatively, and asks the choice. */
function chosenOf<P extends Picked>(workflow: Workflow, parts: EntryParts<P>): Turn | Refusal | undefined {
  const { name, choice } = workflow
  const step = stepsOf(workflow).find(each => each.name === choice?.step)
  if (choice === undefined || step === undefined) return undefined
  const { ctx, pods, selector, picked } = parts
  const lease = picked.acquireEarly(step)
  if (typeof lease === 'string') return lease
  const { pod, uncachedTokens } = lease
  const input = { ctx, pod, uncachedTokens, pods, latency: selector.latency }
  const why = choice.why(input)
  if (why === undefined) {
    ctx.trace?.took(name, choice.whyNot?.(input) ?? `${uncachedTokens} uncached tokens on ${pod.id}`)
    picked.hold(step, lease)
    return undefined
  }
  const [first] = stepsOf(choice.otherwise)
  if (first !== undefined) picked.holdWhole(first, lease)
  ctx.trace?.took(choice.otherwise.name, why)
  return { workflow: choice.otherwise, way: 'direct' }
}
