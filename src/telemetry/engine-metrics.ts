/** What the pods' engines say of themselves, passed on, and how old it is. */
import type { Registry } from 'prom-client'
import { Series } from './series.js'

/** A pod's engine by its own metrics. */
export interface EngineGauges {
  readonly id: string
  /** The last good reading; undefined before the first. */
  readonly reading:
    | {
        readonly running: number
        readonly waiting: number
        /** Part of its KV blocks in use, 0 to 1. */
        readonly kvUse: number
        readonly ageMs: number
      }
    | undefined
  /** Looks that failed since the pod was added. */
  readonly failures: number
}

export interface EngineSource {
  /** Pods whose metrics are read. */
  engines(): readonly EngineGauges[]
}

export function engineMetrics(registry: Registry, source: EngineSource): void {
  const pods = new Series(
    registry,
    'pod',
    () => source.engines(),
    ({ id }) => id,
  )
  pods.gauges(
    [
      'phyllo_pod_engine_running',
      'Requests that the engine works on, whoever sent them, by its own metrics.',
      ({ reading }) => reading?.running,
    ],
    [
      'phyllo_pod_engine_waiting',
      "Requests in the engine's queue, by its own metrics.",
      ({ reading }) => reading?.waiting,
    ],
    [
      'phyllo_pod_kv_use',
      "Part of the engine's KV blocks in use, 0 to 1, by its own metrics.",
      ({ reading }) => reading?.kvUse,
    ],
    [
      'phyllo_pod_scrape_age_seconds',
      "Since the pod's metrics were last read.",
      ({ reading }) => reading && reading.ageMs / 1000,
    ],
  )
  pods.counters([
    'phyllo_pod_scrape_failures_total',
    "Attempts to read a pod's metrics that failed.",
    ({ failures }) => failures,
  ])
}
