/** When a pod's metrics are read next. */
import type { EngineReading } from './reading.js'

/** Times in milliseconds. */
export interface ScrapeOptions {
  /** Between two looks at a pod; 0 = no scraping at all. */
  readonly intervalMs: number
  /** The same for pods near saturation. */
  readonly fastMs: number
  /** For an answer. */
  readonly timeoutMs: number
  /** Path of the metrics page, behind the pod's base path. */
  readonly path: string
}

/**
 * From here on an engine's KV cache counts as nearly full. What is left of it may be gone within a second: a tenth of
 * 400,000 tokens (a 70B model on four H100) is one or two long prompts at 20,000 to 50,000 tokens/s of prefill. Below,
 * the router's own counts tell enough for the second between two looks.
 */
const NEARLY_FULL = 0.9

/** A pod that does not answer, or has no metrics, is looked at this often in the end. */
const MOST_MS = 30_000

/**
 * Looks at saturated pods are this many a second at most, all together: what 256 pods cost at the normal rate. So a fleet
 * that is full as a whole is not looked at four times as often by a router that could not do anything about it.
 */
const FAST_PER_SECOND = 256

/** A tenth each way keeps pods apart that were added together, and what runs on them. */
const JITTER = 0.1

/** Whether a second is too long to know what goes on there: requests wait, or soon will. */
export const isSaturated = ({ waiting, kvUse }: EngineReading): boolean => waiting > 0 || kvUse >= NEARLY_FULL

/** Milliseconds from one look's start to the next one's, without jitter. `saturated`: how many pods are, this included. */
export function delayMs(options: ScrapeOptions, failures: number, saturated: number): number {
  const { intervalMs, fastMs } = options
  if (failures > 0) return Math.max(intervalMs, Math.min(MOST_MS, intervalMs * 2 ** Math.min(failures, 20)))
  if (saturated === 0) return intervalMs
  return Math.min(intervalMs, Math.max(fastMs, (saturated * 1000) / FAST_PER_SECOND))
}

export const jittered = (ms: number, random: number): number => ms * (1 - JITTER + 2 * JITTER * random)

/** The first look at a pod: soon, but not at all of them at once that were added together. */
export const firstDelayMs = ({ intervalMs }: ScrapeOptions, random: number): number =>
  Math.min(intervalMs, 1000) * random

/**
 * Looks begin, and are given up, at multiples of this time only: waking an idle event loop costs 90 µs, more than a look
 * itself. Coarser is cheaper (by a sixth from 50 to 100 ms with 256 pods, of which 26 then share a tick), but the fast
 * looks should not be rounded by half of their interval.
 */
export const tickMs = ({ fastMs }: ScrapeOptions): number => Math.max(20, Math.min(100, fastMs / 2.5))

/**
 * Looks that may begin in one tick: twice as many as do on average. After a stall of the event loop, when all are due at
 * once, they spread again.
 */
export function mostPerTick(options: ScrapeOptions, targets: number): number {
  const perSecond =
    (targets * 1000) / options.intervalMs + Math.min(FAST_PER_SECOND, (targets * 1000) / options.fastMs)
  return 1 + Math.ceil((2 * perSecond * tickMs(options)) / 1000)
}
