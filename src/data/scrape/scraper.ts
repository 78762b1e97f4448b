/**
 * Reads the engines' own metrics, all pods' on the control plane: how many requests they run and have waiting, how full
 * their KV cache is, how it is cut into blocks. Between two looks the router's own counts fill the gap (natively, in
 * LOAD.requests), so that a look a second does; see schedule.ts for when it is less or more.
 */
import type { AdapterTable } from '../adapter-table.js'
import { POD_STATUS_WORDS, type SharedState, slotOf } from '../native.js'
import type { Pod } from '../pod-registry.js'
import { Connection, type PageSink, type PageSource } from './connection.js'
import { type EngineReading, readingOf } from './reading.js'
import {
  delayMs,
  firstDelayMs,
  isSaturated,
  jittered,
  mostPerTick,
  type ScrapeOptions,
  tickMs,
} from './schedule.js'
import { type Outcome, Target } from './target.js'

export interface ScrapeEvents {
  /** The pod said for the first time, or anew, how many tokens a KV block has; the state knows it already. */
  onBlockSize(pod: Pod, blockSize: number): void
  /** A look failed; called each time, with the rest of a sentence that begins with the pod. */
  onFault(pod: Pod, reason: string): void
}

/** What is known of a pod by its metrics. */
export interface ScrapeStatus {
  /** The last good reading; undefined before the first. */
  readonly reading: EngineReading | undefined
  /** Milliseconds since it was asked for; NaN before the first. */
  readonly ageMs: number
  /** Looks that failed, since the pod was added. */
  readonly failures: number
  /** Why the last look failed; undefined if it did not. */
  readonly fault: string | undefined
}

/** Clock, chance and network, so that tests can bring their own. */
export interface ScrapeWorld {
  /** Milliseconds that only grow. */
  now(): number
  random(): number
  /** Calls back after so many milliseconds; answers what cancels it. */
  after(ms: number, callback: () => void): () => void
  connect(origin: string, sink: PageSink): PageSource
}

export const realWorld: ScrapeWorld = {
  now: () => performance.now(),
  random: Math.random,
  after(ms, callback) {
    const timer = setTimeout(callback, ms).unref()
    return () => clearTimeout(timer)
  },
  connect: (origin, sink) => new Connection(origin, sink),
}

interface Track {
  readonly target: Target
  /** Requests booked here when the look under way, or the last, began. */
  bookedBefore: number
  /** See AdapterTable.turn: when the look under way, or the last, began. */
  adapterTurn: number
  reading: EngineReading | undefined
  readAt: number
  /** What the state was told last; 0 = nothing yet. */
  blockSize: number
  blocks: number
  failures: number
  fault: string | undefined
}

export class Scraper {
  readonly #targets = new Map<string, Target>()
  readonly #tracks = new Map<Pod, Track>()
  readonly #status = new Float64Array(POD_STATUS_WORDS)
  #saturated = 0
  #cancel: (() => void) | undefined
  #wakesAt = Number.POSITIVE_INFINITY
  #stopped = false

  constructor(
    private readonly state: Pick<SharedState, 'setEngineLoad' | 'setPodCache' | 'podStatus'>,
    private readonly adapters: Pick<AdapterTable, 'turn' | 'tell' | 'forget'>,
    private readonly options: ScrapeOptions,
    private readonly events: ScrapeEvents,
    private readonly world: ScrapeWorld = realWorld,
  ) {}

  /** Looks at a pod's metrics from now on. */
  watch(pod: Pod): void {
    if (this.#stopped || this.options.intervalMs === 0 || this.#tracks.has(pod)) return
    const key = keyOf(pod)
    let target = this.#targets.get(key)
    if (target === undefined) {
      target = new Target(
        pod.origin,
        pod.basePath,
        this.options.path,
        (origin, sink) => this.world.connect(origin, sink),
        (which, outcome) => this.#judge(which, outcome),
      )
      target.dueAt = this.world.now() + firstDelayMs(this.options, this.world.random())
      this.#targets.set(key, target)
    }
    target.pods.add(pod)
    this.#tracks.set(pod, {
      target,
      bookedBefore: 0,
      adapterTurn: 0,
      reading: undefined,
      readAt: Number.NaN,
      blockSize: 0,
      blocks: 0,
      failures: 0,
      fault: undefined,
    })
    this.#arm(target.dueAt)
  }

  /** The pod came back: a look at it is due now, however long it had been down. */
  hurry(pod: Pod): void {
    const target = this.#tracks.get(pod)?.target
    if (target === undefined || target.busy) return
    target.failures = 0
    target.dueAt = Math.min(target.dueAt, this.world.now())
    this.#arm(target.dueAt)
  }

  /** The pod is gone; a look under way is dropped. */
  forget(pod: Pod): void {
    const target = this.#tracks.get(pod)?.target
    if (target === undefined) return
    this.#tracks.delete(pod)
    // Whoever comes in its place has told nothing.
    this.adapters.forget(slotOf(pod.ref))
    target.pods.delete(pod)
    if (target.pods.size > 0) return
    this.#setSaturated(target, false)
    this.#targets.delete(keyOf(pod))
    target.destroy()
  }

  stop(): void {
    this.#stopped = true
    this.#cancel?.()
    for (const pod of [...this.#tracks.keys()]) this.forget(pod)
  }

  /** Undefined if the pod is not looked at. */
  status(pod: Pod): ScrapeStatus | undefined {
    const track = this.#tracks.get(pod)
    if (track === undefined) return undefined
    const { reading, readAt, failures, fault } = track
    return { reading, ageMs: this.world.now() - readAt, failures, fault }
  }

  #tick(): void {
    const now = this.world.now()
    this.#wakesAt = Number.POSITIVE_INFINITY
    // Timers may ring a fraction of a millisecond early.
    const due = [...this.#targets.values()].filter(({ dueAt }) => dueAt <= now + 1)
    const looks = due.filter(({ busy }) => !busy).sort((a, b) => a.dueAt - b.dueAt)
    for (const target of due) if (target.busy) target.giveUp(this.options.timeoutMs)
    for (const target of looks.slice(0, mostPerTick(this.options, this.#targets.size))) {
      target.startedAt = now
      target.dueAt = now + this.options.timeoutMs
      for (const pod of target.pods) this.#noteBooked(pod)
      target.look()
    }
    this.#armNext()
  }

  #judge(target: Target, outcome: Outcome): void {
    const now = this.world.now()
    if (outcome === 'again') target.dueAt = now
    else {
      if ('page' in outcome) this.#take(target, outcome.page)
      else this.#fail(target, outcome.fault.reason)
      const delay = delayMs(this.options, target.failures, target.saturated ? this.#saturated : 0)
      target.dueAt = Math.max(now, target.startedAt + jittered(delay, this.world.random()))
    }
    this.#arm(target.dueAt)
  }

  #take(target: Target, page: Parameters<typeof readingOf>[0]): void {
    target.failures = 0
    let saturated = false
    for (const pod of target.pods) {
      const reading = readingOf(page, pod.rank)
      if (reading === undefined) this.#note(pod, `has no metrics of data-parallel rank ${pod.rank}`)
      else {
        this.#keep(pod, reading, target.startedAt)
        saturated ||= isSaturated(reading)
      }
    }
    this.#setSaturated(target, saturated)
  }

  #keep(pod: Pod, reading: EngineReading, readAt: number): void {
    const track = this.#tracks.get(pod)
    if (track === undefined) return
    track.reading = reading
    track.readAt = readAt
    track.fault = undefined
    // What was booked here and has ended since the engine wrote its page would look like others' requests.
    const ended = Math.max(0, track.bookedBefore - this.#booked(pod))
    const running = Math.max(0, reading.running - ended)
    this.state.setEngineLoad(pod.ref, running, reading.waiting, reading.kvUse)
    this.adapters.tell(slotOf(pod.ref), reading.adapters, track.adapterTurn)
    this.#keepCache(pod, track, reading)
  }

  #noteBooked(pod: Pod): void {
    const track = this.#tracks.get(pod)
    if (track === undefined) return
    track.bookedBefore = this.#booked(pod)
    track.adapterTurn = this.adapters.turn()
  }

  /** Requests of this router's on the pod. */
  #booked(pod: Pod): number {
    return this.state.podStatus(pod.ref, this.#status) ? (this.#status[0] ?? 0) : 0
  }

  #keepCache(pod: Pod, track: Track, reading: EngineReading): void {
    // A page that does not say leaves what is known.
    const blockSize = reading.blockSize || track.blockSize
    const blocks = reading.blocks || track.blocks
    const cutAnew = blockSize !== track.blockSize
    if (!cutAnew && blocks === track.blocks) return
    track.blockSize = blockSize
    track.blocks = blocks
    this.state.setPodCache(pod.ref, blockSize, blocks, -1)
    if (cutAnew) this.events.onBlockSize(pod, blockSize)
  }

  #fail(target: Target, reason: string): void {
    target.failures++
    this.#setSaturated(target, false)
    for (const pod of target.pods) this.#note(pod, reason)
  }

  #note(pod: Pod, reason: string): void {
    const track = this.#tracks.get(pod)
    if (track === undefined) return
    track.failures++
    track.fault = reason
    this.events.onFault(pod, reason)
  }

  #setSaturated(target: Target, saturated: boolean): void {
    if (target.saturated !== saturated) this.#saturated += saturated ? 1 : -1
    target.saturated = saturated
  }

  #armNext(): void {
    let next = Number.POSITIVE_INFINITY
    for (const { dueAt } of this.#targets.values()) next = Math.min(next, dueAt)
    if (next < Number.POSITIVE_INFINITY) this.#arm(next)
  }

  /** Wakes at that time or up to a tick later, so that others wake with it. */
  #arm(at: number): void {
    const now = this.world.now()
    const tick = tickMs(this.options)
    const wakesAt = tick * Math.max(Math.ceil(at / tick), Math.floor(now / tick) + 1)
    if (wakesAt >= this.#wakesAt) return
    this.#cancel?.()
    this.#wakesAt = wakesAt
    this.#cancel = this.world.after(wakesAt - now, () => this.#tick())
  }
}

const keyOf = ({ origin, basePath }: Pod): string => `${origin} ${basePath}`
