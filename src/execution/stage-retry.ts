/** With which pod a request of several steps goes on when one of a stage has failed, and from where. */
import type { RoutingContext } from '../decision/context.js'
import type { Refusal } from '../decision/plugin.js'
import { type ErrorCode, errorCatalogue } from '../errors.js'
import type { ExecutionEvents } from './events.js'
import type { Lease } from './lease.js'
import type { PickedPods } from './picked-pods.js'
import { mayRetry } from './retry.js'
import type { Step } from './workflow.js'
import type { WorkflowPlace } from './workflow-place.js'

/** What a stage's retry reads and changes. */
export interface RetryParts {
  readonly picked: PickedPods
  readonly place: WorkflowPlace
  readonly ctx: RoutingContext
  readonly events: Pick<ExecutionEvents, 'onDoubt'>
}

/**
 * The next best pod of the step that failed, booked; or why there is none, where the workflow has a fallback. Undefined:
 * the request does not go on. `failures`: pods that have failed in the step.
 */
export function nextPod(
  step: Step,
  cause: ErrorCode,
  failures: number,
  { picked, place, ctx, events }: RetryParts,
): Lease | Refusal | undefined {
  // Of steps that meet, each may wait in vain for what the other leaves undone, and the one that answers fails of it
  // too. Who is at fault can't be told: the next try is on another pair, where there is one.
  if (cause === 'step_timeout' || (step.output === 'relay' && cause !== 'pod_unreachable')) {
    for (const other of place.meets(step)) {
      const pod = picked.doubt(other.name)
      if (pod !== undefined) events.onDoubt(ctx, pod)
    }
  }
  if (!mayRetry(errorCatalogue[cause], step.onFailure, failures)) return undefined
  const next = picked.acquireEarly(step)
  const hasNone =
    typeof next === 'string' && (place.workflow.fallback === undefined || step.skip !== undefined)
  return hasNone ? undefined : next
}

/** Books what the stage needs besides the pod that its failed step goes on with; answers why that can't be. */
export function beginAgain(
  step: Step,
  next: Lease,
  cause: ErrorCode,
  { picked, place }: RetryParts,
): { readonly attemptId: string | undefined; readonly refusal: Refusal | undefined } {
  picked.hold(step, next)
  let attemptId: string | undefined
  if (!place.isUntouched(cause)) {
    place.restart()
    attemptId = picked.newAttempt()
  }
  const ahead = place.pickedAhead
  return { attemptId, refusal: ahead && picked.pickAll(ahead) }
}
