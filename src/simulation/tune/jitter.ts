/** The same workload, a little otherwise: what a result owes to chance shows when it is run so. */
import { seededRandom } from '../engine/random.js'
import type { Workload } from '../virtual/workload.js'

/**
 * Most that an arrival is moved, ms. Clients, networks and recorders' clocks differ by milliseconds from day to day, so what
 * turns on less is chance; to queues, whose requests take tens of milliseconds and more, it is nothing.
 */
export const JITTER_MS = 10

/** Each arrival later by up to JITTER_MS, uniformly; think times and answers stay. */
export function jittered(workload: Workload, seed: number): Workload {
  const random = seededRandom(seed)
  const requests = workload.requests.map(request => ({
    ...request,
    atMs: request.atMs + JITTER_MS * random(),
  }))
  return { ...workload, requests }
}
