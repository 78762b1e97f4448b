/**
 * What the main thread (control plane) and the workers (data plane) say to each other. Nothing of it is on the request
 * path: fleet versions down, acknowledgements and the end of a drain up.
 */
import type { BoardHandle } from '../data/fleet-board.js'
import type { LatencyHandle } from '../data/latency-model.js'
import type { PodInfo } from '../data/pod-view.js'
import type { PrepareQueueHandle } from '../data/prepare-queue.js'
import type { ForwardTokens } from '../data/token-forwarding.js'
import type { CountersHandle } from '../telemetry/counters.js'
import type { LineBatch } from '../telemetry/decision-log/channel.js'
import type { RouterOptions } from './options.js'

/** A model as the workers know it. */
export interface WorkerModel {
  readonly name: string
  /** The native core's number. */
  readonly id: number
  readonly profile: string
  readonly aliases: readonly string[]
  /** Models that serve its requests, in this order, while no pod can serve it. */
  readonly fallbacks?: readonly string[] | undefined
  /** Prompts go to its pods as token ids, where that changes nothing. */
  readonly forwardTokens: ForwardTokens
}

/** Everything a worker needs to know of the fleet, whole, at a version. */
export interface FleetUpdate {
  readonly version: number
  readonly pods: readonly PodInfo[]
  readonly models: readonly WorkerModel[]
  /** The merged answer of `GET /v1/models`, and of `GET /v1/models/{id}` by id, as JSON text. */
  readonly modelList: string
  readonly modelEntries: Readonly<Record<string, string>>
}

/** Given to a worker when it is born. */
export interface WorkerBirth {
  readonly options: RouterOptions
  readonly stateName: string
  readonly counters: CountersHandle
  readonly prepareQueue: PrepareQueueHandle
  readonly latency: LatencyHandle
  readonly board: BoardHandle
  /** See CacheAges. */
  readonly cacheAges: SharedArrayBuffer
  /** See DecisionCounts. */
  readonly decisionCounts: SharedArrayBuffer
  /** Its row in the counters, in the queue and in the latency memory. */
  readonly row: number
  /** The port to listen on; 0 for the first worker of a router that takes any. */
  readonly port: number
  readonly shared: boolean
  readonly fleet: FleetUpdate
}

export type ToWorker =
  | { readonly type: 'fleet'; readonly update: FleetUpdate }
  | { readonly type: 'drain'; readonly deadlineMs: number }

export type FromWorker =
  | { readonly type: 'listening'; readonly port: number }
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'ack'; readonly version: number }
  | { readonly type: 'decisions'; readonly batch: LineBatch }
  /** A hand-off has failed that may have been that pod's (its id). */
  | { readonly type: 'doubt'; readonly pod: string }
  | { readonly type: 'drained'; readonly cut: number }
