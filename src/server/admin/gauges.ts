/** Pods and index as the metrics page and `GET /pods` read them: fresh from the native state at each look. */
import type { Discovery } from '../../data/discovery/discovery.js'
import { cacheStatus } from '../../data/kv-events/cache-status.js'
import type { KvEvents } from '../../data/kv-events/kv-events.js'
import { POD_STATUS_WORDS, type SharedState, STATS, STATS_WORDS, slotOf } from '../../data/native.js'
import type { Pod, PodRegistry } from '../../data/pod-registry.js'
import { type PrepareQueueHandle, queuedBytes } from '../../data/prepare-queue.js'
import type { Scraper } from '../../data/scrape/scraper.js'
import type { DecisionCounts } from '../../telemetry/decision-log/channel.js'
import type { CacheGauges } from '../../telemetry/event-metrics.js'
import type { Gauges } from '../../telemetry/prometheus.js'
import type { ModelTable } from '../model-table.js'
import type { SplitKeeper } from '../split-keeper.js'
import { engineGauges } from './engine.js'

/** Names of the states that `podStatus` gives as a number. */
export const POD_STATES = ['free', 'joining', 'ready', 'cordoned', 'leaving'] as const

export interface PodStatus {
  readonly inflight: number
  readonly pendingTokens: number
  readonly activeTokens: number
  readonly predictedBlocks: number
  readonly breaker: number
  readonly state: (typeof POD_STATES)[number]
}

const out = new Float64Array(POD_STATUS_WORDS)

export function podStatus(state: Pick<SharedState, 'podStatus'>, pod: Pod): PodStatus {
  out.fill(0)
  state.podStatus(pod.ref, out)
  const [inflight = 0, pendingTokens = 0, predictedBlocks = 0, breaker = 0, code = 0, , activeTokens = 0] =
    out
  const status = { inflight, pendingTokens, activeTokens, predictedBlocks, breaker }
  return { ...status, state: POD_STATES[code] ?? 'free' }
}

/** Where the figures come from. */
export interface GaugeSources {
  readonly state: SharedState
  readonly registry: PodRegistry
  readonly prepareQueue: PrepareQueueHandle
  readonly kvEvents: KvEvents
  readonly scraper: Scraper
  readonly discovery: Discovery
  readonly splits: SplitKeeper
  readonly models: Pick<ModelTable, 'models'>
  readonly decisionCounts: DecisionCounts | undefined
}

export function gauges(sources: GaugeSources): Gauges {
  const { state, registry, prepareQueue, kvEvents, scraper, discovery } = sources
  const stats = new Float64Array(STATS_WORDS)
  const at = (place: number): number => stats[place] ?? 0
  return {
    pods: () =>
      registry.pods.map(pod => {
        const status = podStatus(state, pod)
        return { ...status, id: pod.id, slot: slotOf(pod.ref), ready: status.state === 'ready' }
      }),
    index: () => {
      state.stats(stats)
      return {
        entries: at(STATS.entries),
        bytes: at(STATS.bytes),
        sessions: at(STATS.sessions),
        shedBlocks: at(STATS.shedBlocks),
        demotedPods: at(STATS.demotedPods),
      }
    },
    queuedPrepareBytes: () => queuedBytes(prepareQueue),
    caches: () => registry.pods.flatMap(pod => cacheGauges(sources, pod)),
    engines: () => registry.pods.flatMap(pod => engineGauges(scraper, pod)),
    sources: () => discovery.status(),
    decisionLog: () => sources.decisionCounts,
    splits: () => sources.splits.status(),
    reassigned: () => sources.splits.counts.rows,
    models: () => sources.models.models,
    strayEvents: () => ({
      unknownTopics: kvEvents.count('unknownTopics'),
      badFrames: kvEvents.count('badFrames'),
    }),
  }
}

function cacheGauges({ state, kvEvents }: GaugeSources, pod: Pod): CacheGauges[] {
  const status = cacheStatus(state, pod.ref)
  if (status === undefined) return []
  const isFollowed = kvEvents.sourceOf(pod.ref) !== undefined
  const lagMs = status.sequence < 0 ? undefined : status.lagMs
  return [{ ...status, id: pod.id, events: isFollowed ? { ...status, lagMs } : undefined }]
}
