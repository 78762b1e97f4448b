import type { SharedStateOptions } from '#phyllo/data/native.js'

/** A small state whose breakers open after 3 failures and never for latency; its time is what a test says. */
export const STATE_OPTIONS: SharedStateOptions = {
  width: 64,
  breakerFailures: 3,
  breakerCooldownMs: 1000,
  breakerLatencyFactor: 0,
  breakerLatencyFloorMs: 0,
  predictedBlocks: 10_000,
  predictedTtlMs: 60_000,
  lowerTierWorth: 0.8,
  // At once: most tests want a pod to count in full from the start.
  slowStartMs: 0,
  indexBytes: 64 * 2 ** 20,
  sessions: 1000,
  sessionTtlMs: 60_000,
  virtualClock: true,
}
