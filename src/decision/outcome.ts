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

/** A plugin that throws is at fault by name; one that throws a catalogued error meant it for the client. */
export function pluginFailure(plugin: string, error: unknown): PhylloError {
  if (error instanceof PhylloError) return error
  const reason = error instanceof Error ? error.message : String(error)
  return new PhylloError('internal_error', `plugin '${plugin}' failed: ${reason}`, null, { cause: error })
}
