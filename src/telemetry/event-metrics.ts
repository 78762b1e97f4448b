/** Metrics of the pods' caches as their KV events tell them, and of the events themselves. */
import { Counter, Gauge, type Registry } from 'prom-client'
import { Series } from './series.js'

/** What is known of a pod's cache. */
export interface CacheGauges {
  readonly id: string
  readonly mode: 'predicted' | 'stale' | 'exact'
  readonly blocks: number
  readonly lowerBlocks: number
  readonly predictedBlocks: number
  /** Of its events; undefined where they are not followed. */
  readonly events: EventGauges | undefined
}

/** Counts since the feed began. */
export interface EventGauges {
  /** Undefined before the first batch. */
  readonly lagMs: number | undefined
  readonly events: number
  readonly gaps: number
  readonly lostBatches: number
  readonly replays: number
  readonly orphans: number
  readonly malformed: number
  readonly restarts: number
}

/** Messages that belong to no pod. */
export interface StrayEvents {
  readonly unknownTopics: number
  readonly badFrames: number
}

export interface CacheSource {
  caches(): readonly CacheGauges[]
  strayEvents(): StrayEvents
}

const MODES = { predicted: 0, stale: 1, exact: 2 } as const

export function eventMetrics(registry: Registry, source: CacheSource): void {
  const pods = new Series(
    registry,
    'pod',
    () => source.caches(),
    ({ id }) => id,
  )
  cacheGauges(registry, source, pods)
  eventCounters(pods)
  new Counter({
    name: 'phyllo_kv_event_strays_total',
    help: "Messages on the router's event sockets that belong to no pod: their topic names none, or they are no events.",
    labelNames: ['reason'],
    registers: [registry],
    collect() {
      this.reset()
      const { unknownTopics, badFrames } = source.strayEvents()
      this.inc({ reason: 'topic' }, unknownTopics)
      this.inc({ reason: 'form' }, badFrames)
    },
  })
}

function cacheGauges(registry: Registry, source: CacheSource, pods: Series<CacheGauges>): void {
  const registers = [registry]
  new Gauge({
    name: 'phyllo_pod_blocks',
    help: 'KV blocks of the pod: on its GPU and in slower tiers as its events tell, and predicted from what was sent to it.',
    labelNames: ['pod', 'tier'],
    registers,
    collect() {
      this.reset()
      for (const { id: pod, blocks, lowerBlocks, predictedBlocks } of source.caches()) {
        this.set({ pod, tier: 'gpu' }, blocks)
        this.set({ pod, tier: 'lower' }, lowerBlocks)
        this.set({ pod, tier: 'predicted' }, predictedBlocks)
      }
    },
  })
  pods.gauges([
    'phyllo_pod_cache_mode',
    "How the pod's cache is known: 0 predicted, 1 stale (its events have gaps), 2 exact.",
    ({ mode }) => MODES[mode],
  ])
  new Gauge({
    name: 'phyllo_exact_pods_ratio',
    help: 'Part of the pods whose cache is known exactly.',
    registers,
    collect() {
      const caches = source.caches()
      const exact = caches.filter(({ mode }) => mode === 'exact').length
      this.set(caches.length === 0 ? 0 : exact / caches.length)
    },
  })
}

/** Of pods whose events are followed. */
function eventCounters(pods: Series<CacheGauges>): void {
  pods.gauges([
    'phyllo_kv_event_lag_seconds',
    "From the engine's writing of the last batch of events to its arrival, by both clocks.",
    ({ events }) => (events?.lagMs === undefined ? undefined : events.lagMs / 1000),
  ])
  pods.counters(
    ['phyllo_kv_events_total', 'Stored and removed blocks applied.', ({ events }) => events?.events],
    [
      'phyllo_kv_event_gaps_total',
      'Times that batches of events were missing.',
      ({ events }) => events?.gaps,
    ],
    [
      'phyllo_kv_event_lost_batches_total',
      'Batches that never came, not by replay either.',
      ({ events }) => events?.lostBatches,
    ],
    ['phyllo_kv_event_replays_total', 'Replays asked for.', ({ events }) => events?.replays],
    [
      'phyllo_kv_event_orphans_total',
      'Stored blocks whose parent was not known, so that they could not be placed.',
      ({ events }) => events?.orphans,
    ],
    [
      'phyllo_kv_event_malformed_total',
      'Messages that could not be read.',
      ({ events }) => events?.malformed,
    ],
    [
      'phyllo_kv_event_restarts_total',
      'Times that the engine was seen to have started anew.',
      ({ events }) => events?.restarts,
    ],
  )
}
