/**
 * The upstream client of one worker: a pool of keep-alive connections to each pod, over undici's `Pool.dispatch`, its
 * lowest-overhead call.
 */
import { buildConnector, type Client, Pool } from 'undici'
import type { PodInfo } from '../../data/pod-view.js'
import type { Watchdog } from '../watchdog.js'
import type { StepRequest } from '../workflow.js'
import { Connection } from './connection.js'
import type { UpstreamHandler } from './handler.js'
import { UpstreamRequest, type UpstreamShared } from './request.js'

/** Times in milliseconds. */
export interface UpstreamOptions {
  /** Most connections to one pod; requests above wait in line. */
  readonly connections: number
  /** To open a connection. */
  readonly connectMs: number
  /** From sending a request to the first byte of the answer's body; 0 = no limit. */
  readonly firstByteMs: number
  /** Between two pieces of an answer, while the client takes them; 0 = no limit. */
  readonly idleMs: number
  /** An idle connection is closed after this time, or a second before the pod's own `keep-alive: timeout`. */
  readonly keepAliveMs: number
}

/** Undici's 16 KiB: engines send under 1 KiB of headers. */
const MAX_HEADER_BYTES = 16_384
/** Taken off a pod's `keep-alive: timeout=n`, for the same reason as keepAliveMs is below 5 s. */
const KEEP_ALIVE_MARGIN_MS = 1000
/** A pod that offers to keep connections for hours need not be taken at its word. */
const KEEP_ALIVE_MOST_MS = 60_000

export class UpstreamClient {
  readonly #pools = new Map<string, Pool>()
  readonly #options: UpstreamOptions
  readonly #shared: UpstreamShared
  readonly #clientOptions: Client.Options
  readonly #connector: buildConnector.connector

  constructor(options: UpstreamOptions, watchdog: Watchdog) {
    this.#options = options
    this.#shared = {
      watchdog,
      firstByteTicks: watchdog.ticks(options.firstByteMs),
      idleTicks: watchdog.ticks(options.idleMs),
    }
    this.#clientOptions = {
      // One request at a time on a connection: an engine may take minutes for an answer.
      pipelining: 1,
      keepAliveTimeout: options.keepAliveMs,
      keepAliveTimeoutThreshold: KEEP_ALIVE_MARGIN_MS,
      keepAliveMaxTimeout: KEEP_ALIVE_MOST_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      // The watchdog keeps these times: undici would start up to two timers per request for them, and its body
      // time-out can't tell the wait for the first token from a gap between two.
      headersTimeout: 0,
      bodyTimeout: 0,
    }
    this.#connector = buildConnector({ timeout: options.connectMs, allowH2: false })
  }

  /** Sends a request to a pod. All that follows goes to the handler, in later turns. */
  open(pod: PodInfo, request: StepRequest, handler: UpstreamHandler): UpstreamRequest {
    const upstream = new UpstreamRequest(this.#shared, pod.id, handler)
    const { method, headers, body } = request
    const path = pod.basePath === '' ? request.path : pod.basePath + request.path
    this.#pool(pod.origin).dispatch({ method, path, headers, body }, upstream)
    upstream.opened()
    return upstream
  }

  /** Closes the connections to all other pods, each pool when its last request is done. */
  keepOnly(pods: readonly PodInfo[]): void {
    const kept = new Set(pods.map(pod => pod.origin))
    for (const [origin, pool] of this.#pools) {
      if (kept.has(origin)) continue
      this.#pools.delete(origin)
      void pool.close()
    }
  }

  /** Closes all connections at once; requests under way fail. */
  async destroy(): Promise<void> {
    const pools = [...this.#pools.values()]
    this.#pools.clear()
    await Promise.all(pools.map(pool => pool.destroy()))
  }

  #pool(origin: string): Pool {
    const known = this.#pools.get(origin)
    if (known !== undefined) return known
    const connector = this.#connector
    const pool = new Pool(origin, {
      connections: this.#options.connections,
      factory: url => new Connection(url, this.#clientOptions, connector),
    })
    this.#pools.set(origin, pool)
    return pool
  }
}
