/** The retry rule, all of it. */
import type { ErrorKind } from '../errors.js'
import type { FailurePolicy } from './workflow.js'

/**
 * May the request go to another pod? If the error's kind says that another pod could do better, the step's policy
 * allows one more, and (which the caller sees to) nothing has been sent to the client.
 */
export function mayRetry(kind: ErrorKind, policy: FailurePolicy, attempts: number): boolean {
  return kind.retry && policy.kind === 'retry' && attempts < policy.attempts
}

/**
 * Statuses that say "this pod can't", so that another may: 500 (vLLM when its engine core has died, a worker that ran
 * out of memory), 502 and 504 (a sidecar or gateway before the pod that lost it), 503 (loading, draining, SGLang with
 * its queue full). The rest are answers and go to the client unchanged: 501 and 505 say that the request can't be
 * served at all; 4xx blame the request, 429 the caller: it is the quota of whoever holds the key, its `retry-after` is
 * meant for the client, and to try it on every pod in turn would multiply the load that it is there to limit.
 */
export function isPodFailure(status: number): boolean {
  return status === 500 || status === 502 || status === 503 || status === 504
}
