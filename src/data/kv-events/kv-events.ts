/**
 * The control plane's side of the event thread: tells it which pods publish where, passes on what it has to say, and
 * starts it again should it die. A router whose pods publish nothing has no such thread.
 */
import { Worker } from 'node:worker_threads'
import { type Logger, saidOnce } from '../../telemetry/log.js'
import { createCacheAges } from '../cache-ages.js'
import type { PodRef } from '../native.js'
import type { Pod } from '../pod-registry.js'
import { beforeExit, OpenSockets } from './before-exit.js'
import {
  type DialIn,
  type EventSource,
  type FromThread,
  sourceOf,
  THREAD_COUNT_WORDS,
  THREAD_COUNTS,
  type ThreadBirth,
  type ThreadLog,
  type ToThread,
} from './source.js'

export interface KvEventsOptions {
  /** Name of the SharedState that events are applied to. */
  readonly stateName: string
  readonly dialIn: DialIn
  readonly log: Logger
  /** The name that the native core knows a model by that has several; absent: none has. */
  readonly modelOf?: (name: string) => string
  /** Where the times of batches are noted, see CacheAges; absent: nowhere that others see. */
  readonly ages?: SharedArrayBuffer
  /** Starts the thread; for tests that end it. */
  readonly spawn?: (birth: ThreadBirth) => Worker
}

/**
 * Milliseconds before a thread that died is started again, doubled with each death up to the longest. Meanwhile what is
 * known of the pods grows old, so at first it is soon; what dies again and again must not take a core.
 */
const RESTART_MS = 100
const RESTART_MOST_MS = 10_000
/** Milliseconds that a process which ends waits for the thread's sockets: one batch is worked off in a few. */
const CLOSE_MS = 1000
/** A thread that has lived that long died of something else than its predecessor. */
const STEADY_MS = 60_000

export class KvEvents {
  readonly #sources = new Map<PodRef, EventSource>()
  readonly #counts = new SharedArrayBuffer(THREAD_COUNT_WORDS * Float64Array.BYTES_PER_ELEMENT)
  readonly #sockets = new OpenSockets()
  readonly #sayOnce = saidOnce()
  readonly #atExit = beforeExit(() => this.#closeAtOnce())
  readonly #ages: SharedArrayBuffer
  #worker: Worker | undefined
  #restart: NodeJS.Timeout | undefined
  #restartMs = RESTART_MS
  #stopped = false

  constructor(private readonly options: KvEventsOptions) {
    this.#ages = options.ages ?? createCacheAges()
  }

  /** Follows these pods and no others; to be told whenever pods come, go or change. */
  follow(pods: readonly Pod[]): void {
    const { dialIn, modelOf = name => name } = this.options
    const wanted = new Map<PodRef, EventSource>()
    for (const pod of pods) {
      const source = sourceOf(pod, dialIn, modelOf)
      if (source !== undefined) wanted.set(source.ref, source)
    }
    this.#leaveOutShared(wanted)
    for (const ref of this.#sources.keys()) if (!wanted.has(ref)) this.#detach(ref)
    for (const source of wanted.values()) if (!this.#isFollowed(source)) this.#attach(source)
  }

  /**
   * Of pods that say to publish at the same place, one can be right: with two on a host, as SRV records may name, the
   * fleet's port is one engine's. A second one would be believed to hold the first's blocks. Who was there first stays.
   */
  #leaveOutShared(wanted: Map<PodRef, EventSource>): void {
    const owners = new Map<string, EventSource>()
    const before = (source: EventSource): boolean => this.#sources.has(source.ref)
    const sources = [...wanted.values()]
    for (const source of [...sources.filter(before), ...sources.filter(source => !before(source))]) {
      if (source.endpoint === undefined) continue
      const place = `${source.endpoint} ${source.topic}`
      const owner = owners.get(place)
      if (owner === undefined) {
        owners.set(place, source)
        continue
      }
      wanted.delete(source.ref)
      if (!this.#sayOnce(`${place} ${source.id}`)) continue
      this.options.log.warn(
        `pod ${source.id}: its KV events would be those of pod ${owner.id}, at ${source.endpoint}; they are not ` +
          'followed: give it a kvEvents.endpoint or a topic of its own',
      )
    }
  }

  /** The pod was out of service and is back. Where the router itself dials, the lost connection told of it before. */
  verify(ref: PodRef): void {
    const source = this.#sources.get(ref)
    if (source !== undefined && source.endpoint === undefined) this.#tell({ type: 'verify', ref })
  }

  /** Where the pod publishes, for those who look; undefined if its events are not followed. */
  sourceOf(ref: PodRef): EventSource | undefined {
    return this.#sources.get(ref)
  }

  /** See THREAD_COUNTS; over all threads that there have been. */
  count(of: keyof typeof THREAD_COUNTS): number {
    return new Float64Array(this.#counts)[THREAD_COUNTS[of]] ?? 0
  }

  /** Resolves when the thread is gone. */
  async stop(): Promise<void> {
    this.#stopped = true
    clearTimeout(this.#restart)
    const worker = this.#worker
    if (worker === undefined) {
      this.#atExit()
      return
    }
    const gone = new Promise<void>(resolve => worker.once('exit', () => resolve()))
    this.#tell({ type: 'stop' })
    await gone
    this.#atExit()
  }

  #closeAtOnce(): void {
    this.#tell({ type: 'stop' })
    this.#sockets.waitClosed(CLOSE_MS)
  }

  #isFollowed(source: EventSource): boolean {
    return JSON.stringify(this.#sources.get(source.ref)) === JSON.stringify(source)
  }

  #attach(source: EventSource): void {
    this.#sources.set(source.ref, source)
    if (this.#worker !== undefined) this.#tell({ type: 'attach', source })
    else if (this.#restart === undefined) this.#start()
  }

  #detach(ref: PodRef): void {
    this.#sources.delete(ref)
    this.#tell({ type: 'detach', ref })
  }

  #start(): void {
    this.#restart = undefined
    if (this.#stopped) return
    const { stateName, dialIn, spawn = startThread } = this.options
    const worker = spawn({
      stateName,
      bind: dialIn.bind,
      counts: this.#counts,
      ages: this.#ages,
      sockets: this.#sockets.memory,
    })
    this.#worker = worker
    const started = performance.now()
    let cause: unknown
    worker.on('message', (message: FromThread) => {
      if (message.type === 'died') cause = message.error
      else this.#log(message)
    })
    worker.on('error', error => {
      cause = error
    })
    worker.on('exit', code => {
      this.#worker = undefined
      if (this.#stopped) return
      if (performance.now() - started > STEADY_MS) this.#restartMs = RESTART_MS
      this.#died(cause ?? new Error(`it exited with code ${code}`))
    })
    for (const source of this.#sources.values()) this.#tell({ type: 'attach', source })
  }

  #died(cause: unknown): void {
    const ms = this.#restartMs
    this.#restartMs = Math.min(2 * ms, RESTART_MOST_MS)
    this.options.log.error({ err: cause }, `the thread of KV events died; it is started again in ${ms} ms`)
    this.#restart = setTimeout(() => this.#start(), ms)
  }

  #log({ level, pod, text }: ThreadLog): void {
    this.options.log[level](pod === undefined ? text : `pod ${pod}: ${text}`)
  }

  #tell(message: ToThread): void {
    this.#worker?.postMessage(message)
  }
}

function startThread(birth: ThreadBirth): Worker {
  return new Worker(new URL('./thread.js', import.meta.url), { workerData: birth })
}
