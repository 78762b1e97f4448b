/** The native state's options from the router's. */
import type { SharedStateOptions } from '../data/native.js'
import type { RouterOptions } from './options.js'

export function stateOptions({ breaker, cache, sessions, slowStartMs }: RouterOptions): SharedStateOptions {
  return {
    width: cache.width,
    breakerFailures: breaker.failures,
    breakerCooldownMs: breaker.cooldownMs,
    breakerLatencyFactor: breaker.latencyFactor,
    breakerLatencyFloorMs: breaker.latencyFloorMs,
    predictedBlocks: cache.predictedBlocks,
    predictedTtlMs: cache.predictedTtlMs,
    lowerTierWorth: cache.lowerTierWorth,
    slowStartMs,
    indexBytes: cache.maxBytes,
    sessions: sessions.max,
    sessionTtlMs: sessions.ttlMs,
    virtualClock: false,
  }
}
