/** Metrics of the pods' caches as their KV events tell them, and of the events themselves. */
import { Counter, Gauge, type Registry } from 'prom-client'

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
  cacheGauges(registry, source)
  eventCounters(registry, source)
  const registers = [registry]
  new Gauge({
    name: 'phyllo_kv_event_lag_seconds',
    help: "From the engine's writing of the last batch of events to its arrival, by both clocks.",
    labelNames: ['pod'],
    registers,
    collect() {
      this.reset()
      for (const { id: pod, events } of source.caches())
        if (events?.lagMs !== undefined) this.set({ pod }, events.lagMs / 1000)
    },
  })
  new Counter({
    name: 'phyllo_kv_event_strays_total',
    help: "Messages on the router's event sockets that belong to no pod: their topic names none, or they are no events.",
    labelNames: ['reason'],
    registers,
    collect() {
      this.reset()
      const { unknownTopics, badFrames } = source.strayEvents()
      this.inc({ reason: 'topic' }, unknownTopics)
      this.inc({ reason: 'form' }, badFrames)
    },
  })
}

function cacheGauges(registry: Registry, source: CacheSource): void {
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
  new Gauge({
    name: 'phyllo_pod_cache_mode',
    help: "How the pod's cache is known: 0 predicted, 1 stale (its events have gaps), 2 exact.",
    labelNames: ['pod'],
    registers,
    collect() {
      this.reset()
      for (const { id: pod, mode } of source.caches()) this.set({ pod }, MODES[mode])
    },
  })
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

function eventCounters(registry: Registry, source: CacheSource): void {
  const counters: [name: string, help: string, value: (events: EventGauges) => number][] = [
    ['phyllo_kv_events_total', 'Stored and removed blocks applied.', events => events.events],
    ['phyllo_kv_event_gaps_total', 'Times that batches of events were missing.', events => events.gaps],
    [
      'phyllo_kv_event_lost_batches_total',
      'Batches that never came, not by replay either.',
      events => events.lostBatches,
    ],
    ['phyllo_kv_event_replays_total', 'Replays asked for.', events => events.replays],
    [
      'phyllo_kv_event_orphans_total',
      'Stored blocks whose parent was not known, so that they could not be placed.',
      events => events.orphans,
    ],
    ['phyllo_kv_event_malformed_total', 'Messages that could not be read.', events => events.malformed],
  ]
  for (const [name, help, value] of counters) {
    new Counter({
      name,
      help,
      labelNames: ['pod'],
      registers: [registry],
      collect() {
        this.reset()
        for (const { id: pod, events } of source.caches())
          if (events !== undefined) this.inc({ pod }, value(events))
      },
    })
  }
}
