/** The router's side of the churn test: registry, event thread and native state as the router has them, and a lane. */
import { KvEvents } from '#phyllo/data/kv-events/kv-events.js'
import {
  BODY_KINDS,
  CACHE,
  CACHE_MODE,
  CACHE_WORDS,
  FIELDS,
  isTicket,
  type Lane,
  loadNative,
  OPS,
  SCAN,
  type SharedState,
  STATS,
  STATS_WORDS,
  slotOf,
} from '#phyllo/data/native.js'
import { type Pod, PodRegistry } from '#phyllo/data/pod-registry.js'
import { createLogger } from '#phyllo/telemetry/log.js'
import { STATE_OPTIONS } from '../../data/state-options.js'
import { BLOCK_SIZE, CONVERSATIONS, conversation } from './prompts.js'
import type { Address } from './protocol.js'

const NAME = 'churn'
const WIDTH = 256

export interface Status {
  readonly isExact: boolean
  readonly blocks: number
  readonly gaps: number
  readonly lost: number
  readonly replays: number
  readonly orphans: number
  readonly malformed: number
  readonly restarts: number
  readonly duplicates: number
}

export class Reader {
  readonly state: SharedState
  readonly registry: PodRegistry
  /** What the event thread has had to say. */
  private readonly lines: string[] = []
  private readonly lane: Lane
  private readonly events: KvEvents
  private readonly model: number
  private readonly pairs = new Uint32Array(2 * WIDTH)
  private readonly fields = new Uint32Array(2 * FIELDS.length)
  private readonly bodies = Array.from({ length: CONVERSATIONS }, (_, index) =>
    Buffer.from(JSON.stringify({ model: 'tiny', prompt: Array.from(conversation(index)) })),
  )

  constructor() {
    const addon = loadNative()
    const options = { ...STATE_OPTIONS, width: WIDTH, indexBytes: 2 ** 30, virtualClock: false }
    this.state = addon.SharedState.open(NAME, options)
    this.lane = new addon.Lane(this.state)
    this.model = this.state.addModel('tiny', { blockSize: BLOCK_SIZE })
    this.events = new KvEvents({
      stateName: NAME,
      dialIn: { bind: [], replayPort: 0, firstSequence: 0 },
      log: createLogger(
        { level: 'info', format: 'json' },
        {},
        { write: (line: string) => void this.lines.push(line) },
      ),
    })
    this.registry = new PodRegistry(this.state, async () => this.events.follow(this.registry.pods))
  }

  /** A pod of that id; it is asked for nothing but its events. */
  async add(id: string, { endpoint, replay }: Address): Promise<void> {
    const kvEvents = { endpoint, replay, topic: '', firstSequence: 0 }
    await this.registry.add({ url: `http://${id}.test:8000`, id, models: ['tiny'], kvEvents })
  }

  async remove(id: string): Promise<void> {
    await this.registry.removeAll([id])
  }

  /**
   * Who has how many blocks of a conversation, by pod. Throws where a pod is named that is not there: its slot's blocks
   * are a dead pod's.
   */
  depths(index: number): Map<Pod, number> {
    const body = this.bodies[index] ?? Buffer.alloc(0)
    const { lane, fields, pairs } = this
    if (lane.scan(body, BODY_KINDS.completions, fields) !== SCAN.ok) throw new Error('a bad body')
    const steps = OPS.tokenize | OPS.hashBlocks | OPS.matchPrefix
    const ticket = lane.prepare(this.model, steps, BODY_KINDS.completions, body, fields)
    if (!isTicket(ticket)) throw new Error(lane.lastError())
    const bySlot = new Map(this.registry.pods.map(pod => [slotOf(pod.ref), pod]))
    const depths = new Map<Pod, number>()
    for (let at = 0, count = lane.ranked(ticket, pairs); at < count; at++) {
      const slot = pairs[2 * at] ?? -1
      const pod = bySlot.get(slot)
      if (pod === undefined) throw new Error(`blocks in slot ${slot}, where no pod is`)
      depths.set(pod, (pairs[2 * at + 1] ?? 0) / BLOCK_SIZE)
    }
    lane.drop(ticket)
    return depths
  }

  /** What was said of a pod. */
  said(id: string): string[] {
    return this.lines.filter(line => line.includes(`pod ${id}:`))
  }

  status(pod: Pod): Status {
    const out = new Float64Array(CACHE_WORDS)
    this.state.cacheStatus(pod.ref, out)
    const of = (word: keyof typeof CACHE): number => out[CACHE[word]] ?? Number.NaN
    return {
      isExact: of('mode') === CACHE_MODE.exact,
      blocks: of('blocks'),
      gaps: of('gaps'),
      lost: of('lostBatches'),
      replays: of('replays'),
      orphans: of('orphans'),
      malformed: of('malformed'),
      restarts: of('restarts'),
      duplicates: of('duplicates'),
    }
  }

  /** Bytes of cache state. */
  bytes(): number {
    const out = new Float64Array(STATS_WORDS)
    this.state.stats(out)
    return out[STATS.bytes] ?? Number.NaN
  }

  async close(): Promise<void> {
    await this.events.stop()
    loadNative().SharedState.close(NAME)
  }
}
