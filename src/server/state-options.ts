/** The native state's options from the router's. */
import type { SharedStateOptions } from '../data/native.js'
import type { RouterOptions } from './options.js'

export function stateOptions({ breaker, cache, sessions }: RouterOptions): SharedStateOptions {
  return {
    width: cache.width,
    breakerFailures: breaker.failures,
    breakerCooldownMs: breaker.cooldownMs,
    breakerLatencyFactor: breaker.latencyFactor,
    breakerLatencyFloorMs: breaker.latencyFloorMs,
    predictedBlocks: cache.predictedBlocks,
    predictedTtlMs: cache.predictedTtlMs,
    indexBytes: cache.maxBytes,
    sessions: sessions.max,
    sessionTtlMs: sessions.ttlMs,
    virtualClock: false,
  }
}
