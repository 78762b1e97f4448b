/**
 * Publishes KV events over ZeroMQ as vLLM's ZmqEventPublisher does: `[topic, sequence, payload]` from a PUB socket, and
 * the last batches once more from a ROUTER socket to who asks for them.
 */
import { Publisher, Router } from 'zeromq'
import { END_OF_REPLAY, EventEncoder, type EventFormat, type KvEvent, sequenceFrame } from './encoder.js'
import { FaultyWire, GOOD_WIRE, type WireFaults } from './wire-faults.js'

export const REPLAY_FORMS = ['topic', 'bare'] as const

export interface PublisherOptions {
  /**
   * Where to publish, for rank 0: bound if it names no single address (a `*`, a `::`, `ipc:`, `inproc:`), dialled out to
   * otherwise. Each further rank takes the next port.
   */
  readonly endpoint: string
  /** Where to answer replay requests, always bound; none without. Further ranks as above. */
  readonly replay?: string | undefined
  readonly topic: string
  readonly rank: number
  readonly format: EventFormat
  /** Batches kept for replays (vLLM's `buffer_steps`). */
  readonly buffer?: number
  /** Sequence number of the first batch: 0 in vLLM, 1 in some simulators. */
  readonly firstSequence?: number
  /** `topic` as vLLM from 0.26, `bare` (no topic in replayed messages) as before. */
  readonly replayForm?: (typeof REPLAY_FORMS)[number]
  readonly faults?: WireFaults
}

/** vLLM's default of `buffer_steps`. */
const BUFFER = 10_000
/** vLLM's default of `hwm`: messages queued for a slow subscriber before it loses some. */
const HIGH_WATER_MARK = 100_000

interface Sent {
  readonly sequence: Buffer
  readonly payload: Buffer
}

export class KvPublisher {
  private readonly socket = new Publisher({ sendHighWaterMark: HIGH_WATER_MARK, linger: 0 })
  // The high-water mark stays at ZeroMQ's 1,000 as in vLLM: a longer replay may lose its end to a slow reader.
  private readonly router: Router | null
  private readonly encoder: EventEncoder
  private readonly wire: FaultyWire<Sent>
  private readonly topic: Buffer
  /** By sequence number, modulo its length. */
  private readonly ring: (Sent | undefined)[]
  private readonly first: number
  private next: number
  /** What the socket has not taken yet: it takes one message at a time, and now and then not at once. */
  private readonly outbox: Sent[] = []
  private isSending = false
  private isClosed = false

  private constructor(private readonly options: PublisherOptions) {
    this.router = options.replay === undefined ? null : new Router({ linger: 0 })
    this.encoder = new EventEncoder(options.format)
    this.wire = new FaultyWire(options.faults ?? GOOD_WIRE, message => this.deliver(message))
    this.topic = Buffer.from(options.topic)
    this.ring = Array.from({ length: options.buffer ?? BUFFER }, () => undefined)
    this.first = options.firstSequence ?? 0
    this.next = this.first
  }

  /** Rejects if an address is no ZeroMQ endpoint or is taken. */
  static async open(options: PublisherOptions): Promise<KvPublisher> {
    const publisher = new KvPublisher(options)
    try {
      await publisher.attach()
    } catch (error) {
      await publisher.close()
      throw error
    }
    return publisher
  }

  /** Where it publishes, with the port that was taken for a `*`. */
  get endpoint(): string {
    return this.socket.lastEndpoint ?? this.options.endpoint
  }

  /** Where it answers replay requests; null if it does not. */
  get replayEndpoint(): string | null {
    return this.router?.lastEndpoint ?? null
  }

  /** Batches published so far. */
  get published(): number {
    return this.next - this.first
  }

  /** Batches that the faulty wire has lost so far. */
  get lost(): number {
    return this.wire.lost
  }

  publish(events: readonly KvEvent[], time = Date.now() / 1000): void {
    const payload = this.encoder.encode({ time, events, rank: this.options.rank })
    const sent = { sequence: sequenceFrame(this.next), payload }
    this.ring[this.next % this.ring.length] = sent
    this.next++
    this.wire.send(sent)
  }

  /** Sends what a faulty wire still holds back, and lets nothing go wrong any more. */
  mend(): void {
    this.wire.mend()
  }

  /** At once, as an engine that dies: what no subscriber has yet is lost. Its ports are free afterwards. */
  async close(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    this.wire.stop()
    for (const socket of [this.socket, this.router]) {
      if (socket === null) continue
      const { lastEndpoint } = socket
      const isBound =
        lastEndpoint !== null && (socket === this.router || isBindEndpoint(this.options.endpoint))
      if (isBound) await socket.unbind(lastEndpoint).catch(() => undefined)
      socket.close()
    }
  }

  private async attach(): Promise<void> {
    const { endpoint, replay, rank } = this.options
    const own = offsetEndpoint(endpoint, rank)
    if (isBindEndpoint(own)) await this.socket.bind(own)
    else this.socket.connect(own)
    if (this.router === null || replay === undefined) return
    await this.router.bind(offsetEndpoint(replay, rank))
    void this.answerReplays(this.router)
  }

  private deliver(sent: Sent): void {
    this.outbox.push(sent)
    if (!this.isSending) void this.empty()
  }

  /** A PUB socket never waits for a subscriber (what a slow one has no room for is dropped), so this stays short. */
  private async empty(): Promise<void> {
    this.isSending = true
    for (let sent = this.outbox.shift(); sent !== undefined && !this.isClosed; sent = this.outbox.shift()) {
      await this.socket.send([this.topic, sent.sequence, sent.payload]).catch(() => undefined)
    }
    this.isSending = false
  }

  private async answerReplays(router: Router): Promise<void> {
    try {
      for await (const [client, , from, more] of router) {
        // Anything but one empty frame and one number is no request; vLLM logs it and goes on.
        if (client === undefined || from?.length !== 8 || more !== undefined) continue
        await this.replay(router, client, Number(from.readBigUInt64BE()))
      }
    } catch (error) {
      if (!this.isClosed) throw error
    }
  }

  private async replay(router: Router, client: Buffer, from: number): Promise<void> {
    const hasTopic = this.options.replayForm !== 'bare'
    const head = hasTopic ? [client, '', this.topic] : [client, '']
    for (const { sequence, payload } of this.kept(from)) await router.send([...head, sequence, payload])
    const end = hasTopic ? [client, '', ''] : [client, '']
    await router.send([...end, sequenceFrame(END_OF_REPLAY), ''])
  }

  /** The batches from a sequence number on that are still there, as of now. */
  private kept(from: number): Sent[] {
    const oldest = Math.max(this.first, this.next - this.ring.length)
    const kept: Sent[] = []
    for (let sequence = Math.max(from, oldest); sequence < this.next; sequence++) {
      const sent = this.ring[sequence % this.ring.length]
      if (sent !== undefined) kept.push(sent)
    }
    return kept
  }
}

/** vLLM's rule for which addresses it listens on. */
export const isBindEndpoint = (endpoint: string): boolean =>
  endpoint.includes('*') || endpoint.includes('::') || /^(ipc|inproc):/.test(endpoint)

/** The endpoint of a data-parallel rank: the port plus the rank, a port of `*` or 0 as it is. */
export function offsetEndpoint(endpoint: string, rank: number): string {
  const [, head, port] = /^(tcp:.*:)(\d+)$/.exec(endpoint) ?? []
  if (rank === 0 || port === '0') return endpoint
  if (head !== undefined && port !== undefined) return `${head}${Number(port) + rank}`
  return endpoint.startsWith('inproc:') ? `${endpoint}_dp${rank}` : endpoint
}
