/** Registry, event thread, native state and a lane, as the router has them. */
import type { Worker } from 'node:worker_threads'
import type { ExecutionContext } from 'ava'
import { KvEvents } from '#phyllo/data/kv-events/kv-events.js'
import type { DialIn, ThreadBirth } from '#phyllo/data/kv-events/source.js'
import {
  BODY_KINDS,
  CACHE,
  CACHE_MODES,
  CACHE_WORDS,
  FIELDS,
  isTicket,
  type Lane,
  loadNative,
  OPS,
  SCAN,
  type SharedState,
  slotOf,
} from '#phyllo/data/native.js'
import { NO_KV_EVENTS } from '#phyllo/data/pod-events.js'
import { type Pod, PodRegistry, type PodSpec } from '#phyllo/data/pod-registry.js'
import { createLogger } from '#phyllo/telemetry/log.js'
import { STATE_OPTIONS } from '../state-options.js'
import { BLOCK_SIZE, conversation, type Engine } from './engine.js'
import { type LossyOptions, LossyPublisher } from './lossy-publisher.js'
import { until } from './until.js'

export interface RouterSetup {
  readonly dialIn?: DialIn
  readonly spawn?: (birth: ThreadBirth) => Worker
}

const NO_DIAL_IN: DialIn = { bind: [], replayPort: 0, firstSequence: 0 }
const MODEL = 'm'
let states = 0

export class TestRouter {
  readonly state: SharedState
  readonly registry: PodRegistry
  readonly events: KvEvents
  readonly log: string[] = []
  readonly #name = `kv-events-test-${states++}`
  readonly #lane: Lane
  readonly #model: number
  readonly #cached = new Uint32Array(STATE_OPTIONS.width)
  readonly #fields = new Uint32Array(2 * FIELDS.length)

  constructor(t: ExecutionContext, { dialIn = NO_DIAL_IN, ...setup }: RouterSetup = {}) {
    const addon = loadNative()
    const options = { ...STATE_OPTIONS, indexBytes: 2 ** 30, virtualClock: false }
    this.state = addon.SharedState.open(this.#name, options)
    this.#lane = new addon.Lane(this.state)
    this.#model = this.state.addModel(MODEL, { blockSize: BLOCK_SIZE })
    const log = createLogger({ level: 'info', format: 'json' }, {}, { write: line => this.log.push(line) })
    this.events = new KvEvents({ stateName: this.#name, dialIn, log, ...setup })
    const broadcast = async () => this.events.follow(this.registry.pods)
    this.registry = new PodRegistry(this.state, broadcast, { ...NO_KV_EVENTS, ...dialIn })
    t.teardown(() => this.close())
  }

  /** Adds the pod of an engine; the engine may not be there yet. */
  async add(engine: Engine, more: Partial<PodSpec> = {}): Promise<Pod> {
    const { endpoint, replayEndpoint: replay } = engine.publisher
    const kvEvents = { endpoint, replay, topic: '', firstSequence: 0 }
    const id = `pod-${this.registry.pods.length}`
    return this.registry.add({ url: `http://${id}.test:8000`, id, models: [MODEL], kvEvents, ...more })
  }

  /** What is known of a pod's cache. */
  status(pod: Pod) {
    const out = new Float64Array(CACHE_WORDS)
    if (!this.state.cacheStatus(pod.ref, out)) throw new Error(`${pod.id} is gone`)
    const at = (word: keyof typeof CACHE): number => out[CACHE[word]] ?? Number.NaN
    return {
      mode: CACHE_MODES[at('mode')],
      blocks: at('blocks'),
      sequence: at('sequence'),
      batches: at('batches'),
      events: at('events'),
      gaps: at('gaps'),
      lost: at('lostBatches'),
      replayed: at('replayedBatches'),
      malformed: at('malformed'),
      restarts: at('restarts'),
      duplicates: at('duplicates'),
    }
  }

  /** Leading blocks of a conversation that a pod is known to hold. */
  depth(pod: Pod, index: number, blocks = 64): number {
    const body = Buffer.from(
      JSON.stringify({ model: MODEL, prompt: Array.from(conversation(index, blocks + 1)) }),
    )
    if (this.#lane.scan(body, BODY_KINDS.completions, this.#fields) !== SCAN.ok) throw new Error('a bad body')
    const ops = OPS.tokenize | OPS.hashBlocks | OPS.matchPrefix
    const ticket = this.#lane.prepare(this.#model, ops, BODY_KINDS.completions, body, this.#fields)
    if (!isTicket(ticket)) throw new Error(this.#lane.lastError())
    this.#lane.cachedTokens(ticket, this.#cached)
    this.#lane.drop(ticket)
    return (this.#cached[slotOf(pod.ref)] ?? 0) / BLOCK_SIZE
  }

  /** Waits until the pod is known to be as the engine is, exactly, and compares conversations. */
  async agrees(t: ExecutionContext, pod: Pod, engine: Engine, conversations: number): Promise<void> {
    const last = engine.publisher.next - 1
    await until(
      () => this.status(pod).mode === 'exact' && this.status(pod).sequence === last,
      () => `${pod.id} is not exact up to ${last}: ${JSON.stringify(this.status(pod))}\n${this.log.join('')}`,
    )
    t.is(this.status(pod).blocks, engine.size)
    for (let index = 0; index < conversations; index++)
      t.is(this.depth(pod, index), engine.depth(index), `conversation ${index} of ${pod.id}`)
  }

  /** Waits until the pod's last batch is of that number. */
  async reaches(pod: Pod, sequence: number): Promise<void> {
    await until(
      () => this.status(pod).sequence === sequence,
      () => `${pod.id} is at ${JSON.stringify(this.status(pod))}, not ${sequence}`,
    )
  }

  async mode(pod: Pod, mode: (typeof CACHE_MODES)[number]): Promise<void> {
    await until(
      () => this.status(pod).mode === mode,
      () => `${pod.id} is not ${mode}: ${JSON.stringify(this.status(pod))}`,
    )
  }

  async close(): Promise<void> {
    await this.events.stop()
    loadNative().SharedState.close(this.#name)
  }
}

/** A publisher that goes with the test. */
export async function publisher(t: ExecutionContext, options: LossyOptions = {}): Promise<LossyPublisher> {
  const opened = await LossyPublisher.open(options)
  t.teardown(() => opened.close())
  return opened
}
