/** `GET /pods/ID/cache`: what is known of a pod's cache, and how. */
import { cacheStatus } from '../../data/kv-events/cache-status.js'
import type { KvEvents } from '../../data/kv-events/kv-events.js'
import type { SharedState } from '../../data/native.js'
import type { Pod } from '../../data/pod-registry.js'
import { PhylloError } from '../../errors.js'

export interface CacheSources {
  readonly state: SharedState
  readonly kvEvents: KvEvents
}

/** Numbers that are not known yet are null. */
export function showCache({ state, kvEvents }: CacheSources, pod: Pod) {
  const status = cacheStatus(state, pod.ref)
  if (status === undefined) throw new PhylloError('path_not_found', `pod '${pod.id}' was just removed`)
  const { mode, blocks, lowerBlocks, predictedBlocks, blockSize, capacity, lagMs, sequence, ...counts } =
    status
  const source = kvEvents.sourceOf(pod.ref)
  const heard = sequence >= 0
  return {
    id: pod.id,
    mode,
    blocks,
    lowerBlocks,
    predictedBlocks,
    blockSize: blockSize || null,
    capacity: capacity || null,
    /** Where its events come from; null: they are not followed. */
    endpoint: source === undefined ? null : (source.endpoint ?? 'dials in'),
    replay: source?.replay ?? null,
    sequence: heard ? sequence : null,
    lagMs: heard ? lagMs : null,
    ...counts,
  }
}
