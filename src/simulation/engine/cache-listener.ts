/** Who hears what an engine's cache gains and loses, in order. */
import type { EngineRequest } from './request.js'

export interface EvictionListener {
  /** A copy of a named block was given up for new tokens; there may be others. */
  removed(key: number): void
  /** All names are forgotten. */
  cleared(): void
}

export interface CacheListener extends EvictionListener {
  /** Blocks `from` to `to` (exclusive) of a request have become findable. */
  stored(request: EngineRequest, from: number, to: number): void
  /** A step is over: what was told since the last one belongs together. */
  stepDone(): void
}
