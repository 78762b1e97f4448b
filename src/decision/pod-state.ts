/** What a decision saw of a pod: the lane's columns of its slot, and what is known of its cache. */
import type { Adapters, StandingName } from '../data/adapter-table.js'
import type { CacheLook, PodCache } from '../data/cache-ages.js'
import type { LaneView } from '../data/lane-view.js'
import type { LatencyTerms } from '../data/latency-weights.js'
import type { PodInfo, PodView } from '../data/pod-view.js'
import { hashWord } from './hash.js'
import type { PluginEnv } from './plugin.js'

/** The load columns that decisions read; see LOAD in data/native.ts for units. */
export const LOAD_NAMES = [
  'inflight',
  'pendingTokens',
  'firstByteMs',
  'breaker',
  'ready',
  'requests',
  'waiting',
  'kvUse',
  'warmth',
  'activeTokens',
] as const
export type LoadName = (typeof LOAD_NAMES)[number]
export type PodLoad = Record<LoadName, number>

export interface PodState {
  readonly id: string
  /** Its place in every per-pod array; the order of slots is that of candidates. */
  readonly slot: number
  readonly labels: Readonly<Record<string, string>>
  /** Most requests in flight that its operator allows; 0: no limit. */
  readonly maxInflight: number
  readonly load: Readonly<PodLoad>
  /** Null where nobody looked, or the pod is gone. */
  readonly cache: PodCache | null
  /** What is known of its time to the first byte; null: nothing yet. */
  readonly latency: LatencyTerms | null
  /** See FleetBoard.coldTurns. */
  readonly coldTurn: number
  readonly adapter: AdapterState
}

/** The request's model as an adapter on the pod: see AdapterTable. */
export interface AdapterState {
  readonly since: number
  readonly count: number
  readonly standing: StandingName
}

/** Names in the order of their numbers. */
export const STANDING_NAMES = [
  'untold',
  'active',
  'room',
  'waiting',
  'full',
] as const satisfies StandingName[]

/** The pod of a slot as this selection sees it. A pod that left between the pool's making and now has no name. */
export function podState(
  { lane, latency, board }: PluginEnv,
  { pods, look }: { readonly pods: PodView; readonly look: CacheLook | undefined },
  slot: number,
  model: string,
): PodState {
  const pod: PodInfo | undefined = pods.bySlot(slot)
  const { adapters, coldTurns } = board
  return {
    id: pod?.id ?? `(slot ${slot})`,
    slot,
    labels: pod?.labels ?? {},
    maxInflight: pod?.maxInflight ?? 0,
    load: loadOf(lane, slot),
    cache: (pod && look?.of(pod.ref)) ?? null,
    latency: pod === undefined ? null : latency.terms(pod.ref),
    coldTurn: coldTurns[slot] ?? 0,
    adapter: adapterState(adapters, slot, hashWord(model)),
  }
}

const adapterState = (adapters: Adapters, slot: number, adapter: number): AdapterState => ({
  since: adapters.since(slot, adapter),
  count: adapters.count(slot),
  standing: STANDING_NAMES[adapters.standing(slot, adapter)] ?? 'untold',
})

function loadOf(lane: LaneView, slot: number): PodLoad {
  const at = (column: Float64Array): number => column[slot] ?? 0
  return {
    inflight: at(lane.inflight),
    pendingTokens: at(lane.pendingTokens),
    firstByteMs: at(lane.firstByteMs),
    breaker: at(lane.breaker),
    ready: at(lane.ready),
    requests: at(lane.requests),
    waiting: at(lane.waiting),
    kvUse: at(lane.kvUse),
    warmth: at(lane.warmth),
    activeTokens: at(lane.activeTokens),
  }
}
