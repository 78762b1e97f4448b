/** How a selection ended, and the errors that the decision layer gives. */
import { PhylloError } from '../errors.js'
import type { Refusal } from './plugin.js'

/** 'picked': the ranking holds at least one pod. Otherwise why it is empty. */
export type SelectionOutcome = 'picked' | Refusal

/** The error for an empty selection; `model` is empty for a request that names none. */
export function selectionError(refusal: Refusal, model: string): PhylloError {
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
