/** How a selection ended, and the errors that the decision layer gives. */
import { PhylloError } from '../errors.js'
import type { RoutingContext } from './context.js'
import type { Refusal } from './plugin.js'

/** 'picked': the ranking holds at least one pod. Otherwise why it is empty. */
export type SelectionOutcome = 'picked' | Refusal

/** The error for an empty selection; for a request that names no model, or goes on from a response, it says so. */
export function selectionError(
  refusal: Refusal,
  ctx: Pick<RoutingContext, 'model' | 'pinnedTo'>,
): PhylloError {
  const { model, pinnedTo } = ctx
  if (pinnedTo !== '') {
    return new PhylloError(refusal, `the pod that holds the response '${pinnedTo}' takes no requests now`)
  }
  const task = model === '' ? 'take this request' : `serve '${model}'`
  return refusal === 'overloaded'
    ? new PhylloError('overloaded', `all pods that ${task} are at their limit`)
    : new PhylloError('no_pod', `no pod can ${task} now`)
}

/** Told of a plugin that failed on a request. Called on the request path; must not throw. */
export type PluginFailed = (profile: string, plugin: string, error: unknown) => void

/**
 * Whether what a plugin threw is meant for the client: a catalogued error is. Anything else (and `internal_error`, which
 * a slot throws that nobody wrote) is a fault of the plugin, and the decision goes on without it.
 */
export function isForClient(error: unknown): error is PhylloError {
  return error instanceof PhylloError && error.code !== 'internal_error'
}

/**
 * What filters, scorers, pickers and listeners answer is nothing; the compiler lets an `async` one through all the same. What
 * it writes would come too late, and its rejection would be nobody's to handle: a fault of the plugin.
 */
export function expectNothing(answer: unknown): void {
  if (!(answer instanceof Promise)) return
  answer.catch(() => undefined)
  throw new TypeError('it is asynchronous, which only Prepare plugins may be: a selection does not wait')
}
