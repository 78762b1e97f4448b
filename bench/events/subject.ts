/**
 * The router's event thread in a process of its own: sockets, JavaScript and native side, or parts of them. What is
 * measured is the whole process, ZeroMQ's I/O thread with it.
 */
import { Worker } from 'node:worker_threads'
import { Subscriber } from 'zeromq'
import { Receiver } from '#phyllo/data/kv-events/receiver.js'
import { THREAD_COUNT_WORDS } from '#phyllo/data/kv-events/source.js'
import {
  type EventFeed,
  loadNative,
  NO_WISH,
  type PodRef,
  type SharedStateOptions,
} from '#phyllo/data/native.js'
import { pause } from '../lib/child.js'
import { cpuMs } from '../lib/cpu-bench.js'
import { answerOrders } from '../lib/orders.js'
import { BLOCK_SIZE, messagesOf, type Pass, payloads, type Shape } from './messages.js'
import type { QueryOrders, QueryTimes } from './queries.js'

/** `whole`; `sockets`: nothing behind them; `zeromq`: not even ours, the library's own loop; `feed`: no sockets before it. */
export type Part = 'whole' | 'sockets' | 'zeromq' | 'feed'

export type SubjectOrder =
  | { readonly type: 'begin'; readonly part: Part; readonly port: number; readonly shape: Shape }
  /** Expects a pass; `isQueried`: another thread asks the index meanwhile. */
  | { readonly type: 'expect'; readonly pass: Pass; readonly isQueried: boolean }
  /** Queries alone, for a second: what they take without events. */
  | { readonly type: 'query' }
  /** When all that was expected is there. */
  | { readonly type: 'report' }

export interface SubjectReport {
  readonly wallMs: number
  readonly cpuMs: number
  readonly queries: QueryTimes | undefined
}

const STATE = 'bench-events'
const MODEL = 'bench'
const OPTIONS: SharedStateOptions = {
  width: 256,
  breakerFailures: 3,
  breakerCooldownMs: 1000,
  breakerLatencyFactor: 0,
  breakerLatencyFloorMs: 0,
  predictedBlocks: 10_000,
  predictedTtlMs: 60_000,
  lowerTierWorth: 0.8,
  slowStartMs: 0,
  indexBytes: 4 * 2 ** 30,
  sessions: 1000,
  sessionTtlMs: 60_000,
  virtualClock: false,
}

const addon = loadNative()
const state = addon.SharedState.open(STATE, OPTIONS)
const model = state.addModel(MODEL, { blockSize: BLOCK_SIZE })

/** Passes messages on, and tells when so many have come. */
class Counting {
  #left = 0
  #done: () => void = () => {}
  #connected: () => void = () => {}
  readonly connected = new Promise<void>(resolve => {
    this.#connected = resolve
  })

  constructor(private readonly feed: EventFeed | undefined) {}

  expect(messages: number): Promise<void> {
    this.#left = messages
    return new Promise(resolve => {
      this.#done = resolve
    })
  }

  receiveAll(frames: Uint8Array[]): boolean {
    const look = this.feed?.receiveAll(frames) ?? false
    this.#left -= frames.length / 2
    if (this.#left === 0) this.#done()
    return look
  }

  asFeed(): EventFeed {
    const { feed } = this
    return {
      receive: (sequence, payload) => this.receiveAll([sequence, payload]),
      receiveAll: frames => this.receiveAll(frames),
      connected: () => {
        this.#connected()
        return feed?.connected() ?? false
      },
      disconnected: () => feed?.disconnected(),
      wants: () => feed?.wants() ?? NO_WISH,
      replayed: (sequence, payload) => feed?.replayed(sequence, payload),
      replayDone: () => feed?.replayDone() ?? false,
      replayFailed: () => feed?.replayFailed() ?? false,
      notice: () => feed?.notice() ?? null,
      rankOf: payload => feed?.rankOf(payload) ?? -1,
      close: () => feed?.close(),
    }
  }
}

class Subject {
  readonly #counting: Counting
  readonly #ref: PodRef
  #measured: Promise<SubjectReport> | undefined
  #queries: Worker | undefined
  readonly #batches = new Map<Pass, Buffer[][]>()
  #next = 0

  constructor(
    private readonly part: Part,
    port: number,
    private readonly shape: Shape,
  ) {
    this.#ref = state.addPod('bench')
    state.activatePod(this.#ref)
    const options = { model: MODEL, replay: false, firstSequence: 0 }
    this.#counting = new Counting(
      part === 'whole' || part === 'feed' ? new addon.EventFeed(state, this.#ref, options) : undefined,
    )
    const endpoint = `tcp://127.0.0.1:${port}`
    if (part === 'zeromq') this.#subscribe(endpoint)
    else if (part !== 'feed') this.#connect(endpoint)
  }

  /** As zeromq.js' own examples read. */
  #subscribe(endpoint: string): void {
    const socket = new Subscriber()
    socket.events.on('handshake', () => this.#counting.asFeed().connected())
    socket.subscribe()
    socket.connect(endpoint)
    const read = async (): Promise<void> => {
      for await (const [, sequence, payload] of socket) {
        if (sequence !== undefined && payload !== undefined) this.#counting.receiveAll([sequence, payload])
      }
    }
    void read()
  }

  #connect(endpoint: string): void {
    const receiver = new Receiver({
      openFeed: () => this.#counting.asFeed(),
      say: ({ text }) => console.error(text),
      bind: [],
      counts: new SharedArrayBuffer(8 * THREAD_COUNT_WORDS),
    })
    const source = {
      ref: this.#ref,
      id: 'bench',
      name: 'bench',
      rank: 0,
      address: '127.0.0.1:80',
      model: MODEL,
      endpoint,
      replay: undefined,
      topic: '',
      firstSequence: 0,
    }
    receiver.receive({ type: 'attach', source })
  }

  /** The publisher knows its readers by the order in which they come. */
  async connected(): Promise<void> {
    if (this.part !== 'feed') await this.#counting.connected
  }

  async expect(pass: Pass, isQueried: boolean): Promise<void> {
    if (isQueried) await this.#startQueries()
    const frames = this.part === 'feed' ? this.#inMemory(pass) : undefined
    const all = this.#counting.expect(messagesOf(this.shape, pass))
    const wall = performance.now()
    const cpu = cpuMs()
    for (const batch of frames ?? []) this.#counting.receiveAll(batch)
    this.#measured = all.then(async () => ({
      wallMs: performance.now() - wall,
      cpuMs: cpuMs() - cpu,
      queries: await this.#endQueries(),
    }))
  }

  /** The pass' messages, made once, under the numbers that come next. */
  #inMemory(pass: Pass): Buffer[][] {
    const batches = this.#batches.get(pass) ?? inBatches(this.shape, pass)
    this.#batches.set(pass, batches)
    for (const batch of batches)
      for (let i = 0; i < batch.length; i += 2) batch[i]?.writeBigUInt64BE(BigInt(this.#next++))
    return batches
  }

  async report(): Promise<SubjectReport> {
    if (this.#measured === undefined) throw new Error('nothing was expected')
    return this.#measured
  }

  /** Queries for a second while no events come. */
  async query(): Promise<SubjectReport> {
    await this.#startQueries()
    const [wall, cpu] = [performance.now(), cpuMs()]
    await pause(1000)
    return { wallMs: performance.now() - wall, cpuMs: cpuMs() - cpu, queries: await this.#endQueries() }
  }

  async #startQueries(): Promise<void> {
    const orders: QueryOrders = { stateName: STATE, model, shape: this.shape }
    const worker = new Worker(new URL('./queries.js', import.meta.url), { workerData: orders })
    await new Promise(resolve => worker.once('message', resolve))
    this.#queries = worker
  }

  async #endQueries(): Promise<QueryTimes | undefined> {
    const worker = this.#queries
    if (worker === undefined) return undefined
    this.#queries = undefined
    return new Promise(resolve => {
      worker.once('message', resolve)
      worker.postMessage('end')
    })
  }
}

/** A pass as the thread hands it to the feed, sequence numbers left open. */
function inBatches(shape: Shape, pass: Pass): Buffer[][] {
  const batches: Buffer[][] = []
  let batch: Buffer[] = []
  for (const payload of payloads(shape, pass)) {
    if (batch.push(Buffer.alloc(8), payload) === 512) {
      batches.push(batch)
      batch = []
    }
  }
  if (batch.length > 0) batches.push(batch)
  return batches
}

let subject: Subject | undefined

answerOrders(async (order: SubjectOrder): Promise<SubjectReport | true> => {
  if (order.type === 'begin') {
    subject = new Subject(order.part, order.port, order.shape)
    await subject.connected()
    return true
  }
  if (subject === undefined) throw new Error('not begun')
  if (order.type === 'report') return subject.report()
  if (order.type === 'query') return subject.query()
  await subject.expect(order.pass, order.isQueried)
  return true
})
