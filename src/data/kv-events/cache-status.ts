/** What is known of a pod's cache, by names, as the native state tells it by numbers. */
import { CACHE, CACHE_MODES, CACHE_WORDS, type PodRef, type SharedState } from '../native.js'

export interface CacheStatus {
  readonly mode: (typeof CACHE_MODES)[number]
  /** Blocks on the GPU, in slower tiers, and believed to be there. */
  readonly blocks: number
  readonly lowerBlocks: number
  readonly predictedBlocks: number
  /** Tokens; 0 while unknown. */
  readonly blockSize: number
  /** Blocks that there is room for; 0 while unknown. */
  readonly capacity: number
  /** Of the last batch. */
  readonly lagMs: number
  /** Of the last batch; -1 before the first. */
  readonly sequence: number
  readonly batches: number
  readonly events: number
  readonly gaps: number
  readonly lostBatches: number
  readonly replays: number
  readonly replayedBatches: number
  readonly orphans: number
  readonly malformed: number
  readonly restarts: number
  readonly duplicates: number
}

const words = new Float64Array(CACHE_WORDS)
const at = (word: keyof typeof CACHE): number => words[CACHE[word]] ?? 0

/** Undefined if the pod is gone. */
export function cacheStatus(state: Pick<SharedState, 'cacheStatus'>, ref: PodRef): CacheStatus | undefined {
  if (!state.cacheStatus(ref, words)) return undefined
  return {
    mode: CACHE_MODES[at('mode')] ?? 'predicted',
    blocks: at('blocks'),
    lowerBlocks: at('lowerBlocks'),
    predictedBlocks: at('predictedBlocks'),
    blockSize: at('blockSize'),
    capacity: at('capacity'),
    lagMs: at('lagMs'),
    sequence: at('sequence'),
    batches: at('batches'),
    events: at('events'),
    gaps: at('gaps'),
    lostBatches: at('lostBatches'),
    replays: at('replays'),
    replayedBatches: at('replayedBatches'),
    orphans: at('orphans'),
    malformed: at('malformed'),
    restarts: at('restarts'),
    duplicates: at('duplicates'),
  }
}
