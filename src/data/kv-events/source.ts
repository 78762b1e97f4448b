/** What the event thread is told of a pod, and how it is told. Everything here can be cloned to a thread. */

import type { PodRef } from '../native.js'
import type { Pod } from '../pod-registry.js'
import { endpointOfRank } from '../zmq-endpoint.js'

/** A publisher of KV events: one pod, or one rank of a data-parallel engine. */
export interface EventSource {
  readonly ref: PodRef
  readonly id: string
  /** What an operator calls the engine; the same for all its ranks. */
  readonly name: string
  /** Its data-parallel rank, 0 where there is only one. */
  readonly rank: number
  /** `host:port` of its URL. */
  readonly address: string
  /** The model that it serves without an adapter. */
  readonly model: string
  /** Where it publishes; undefined: it dials in, and is told from others by its topic. */
  readonly endpoint: string | undefined
  /** Where batches can be asked for again; undefined: nowhere. */
  readonly replay: string | undefined
  /** Topic prefix to subscribe to; empty: all. */
  readonly topic: string
  /** Sequence number of the publisher's first batch. */
  readonly firstSequence: number
}

/** Where engines dial in, and what is then known of their publishers. */
export interface DialIn {
  /** Addresses to listen on. */
  readonly bind: readonly string[]
  /** Port on an engine's host that replays are asked of; 0 = none. */
  readonly replayPort: number
  readonly firstSequence: number
}

/**
 * The pod's publisher; undefined while its model is unknown, or if it publishes nowhere. `modelOf`: the name that the
 * native core knows a model by that has several.
 */
export function sourceOf(
  pod: Pod,
  dialIn: DialIn,
  modelOf: (name: string) => string,
): EventSource | undefined {
  const { ref, id, name, kvEvents, models } = pod
  // Engines list the model itself first, its adapters behind.
  const [model] = models
  if (model === undefined || (kvEvents === undefined && dialIn.bind.length === 0)) return undefined
  const url = new URL(pod.origin)
  const rank = pod.rank ?? 0
  const source = { ref, id, name, rank, address: addressOf(url), model: modelOf(model) }
  if (kvEvents !== undefined) return { ...source, ...kvEvents, replay: kvEvents.replay }
  const { replayPort, firstSequence } = dialIn
  const replay = replayPort === 0 ? undefined : endpointOfRank(`tcp://${url.hostname}:${replayPort}`, rank)
  return { ...source, endpoint: undefined, replay, topic: '', firstSequence }
}

/** URL drops a scheme's own port, which engines name in their topics. */
function addressOf({ hostname, port, protocol }: URL): string {
  return `${hostname}:${port === '' ? (protocol === 'https:' ? 443 : 80) : port}`
}

/** What the thread is started with. */
export interface ThreadBirth {
  /** Name of the SharedState that events are applied to. */
  readonly stateName: string
  readonly bind: readonly string[]
  /** See THREAD_COUNTS. */
  readonly counts: SharedArrayBuffer
  /** See CacheAges. */
  readonly ages: SharedArrayBuffer
  /** See OpenSockets. */
  readonly sockets: SharedArrayBuffer
}

/** Places in the thread's counters: doubles that it alone writes and any thread may read. */
export const THREAD_COUNTS = {
  /** Messages whose topic names no known pod. */
  unknownTopics: 0,
  /** Messages that are no topic, sequence number and payload. */
  badFrames: 1,
} as const
export const THREAD_COUNT_WORDS = 2

export type ToThread =
  | { readonly type: 'attach'; readonly source: EventSource }
  | { readonly type: 'detach'; readonly ref: PodRef }
  /** A pod that dials in was out of service, and is back: as the same engine? */
  | { readonly type: 'verify'; readonly ref: PodRef }
  | { readonly type: 'stop' }

export interface ThreadLog {
  readonly type: 'log'
  readonly level: 'warn' | 'info'
  /** The pod that it is about; undefined: a socket of several. */
  readonly pod: string | undefined
  readonly text: string
}

/** Something was not caught: the thread is about to end. */
export interface ThreadDeath {
  readonly type: 'died'
  readonly error: Error
}

export type FromThread = ThreadLog | ThreadDeath
