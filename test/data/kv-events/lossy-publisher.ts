/**
 * A publisher of KV events as an engine's, but which loses, repeats, reorders and garbles exactly what a test tells it
 * to. (The simulated engine's own publisher errs at random.)
 */
import { Router, XPublisher } from 'zeromq'
import {
  END_OF_REPLAY,
  EventEncoder,
  type EventFormat,
  type KvEvent,
  sequenceFrame,
} from '#phyllo/simulation/engine/kv-events/encoder.js'
import { until } from './until.js'

export interface Message {
  readonly number: number
  readonly sequence: Buffer
  readonly payload: Buffer
}

export interface LossyOptions {
  /** Where to publish: bound with a `*` in it or without, unless `dial` says otherwise. */
  readonly endpoint?: string
  readonly dial?: boolean
  readonly replayEndpoint?: string
  /** Whether replays are answered, and whether with a topic. */
  readonly replay?: 'topic' | 'bare' | undefined
  readonly topic?: string
  readonly format?: EventFormat
  readonly rank?: number | null
  /** Batches kept for replays. */
  readonly buffer?: number
  readonly first?: number
}

const ANY = 'tcp://127.0.0.1:*'

export class LossyPublisher {
  // As PUB, and it tells of subscriptions: a test need not guess when one has come.
  readonly #socket: XPublisher
  readonly #router: Router | undefined
  readonly #encoder: EventEncoder
  readonly #topic: Buffer
  readonly #kept: Message[] = []
  #next: number
  #subscribers = 0
  /** Times that somebody subscribed. */
  subscriptions = 0
  #closed = false
  #sending: Promise<void> = Promise.resolve()

  /** Numbers that replays were asked from. */
  readonly asked: number[] = []
  /** What of a replay is sent: to lose some of it, or make some up. */
  replaying: (kept: readonly Message[]) => Iterable<Message> = kept => kept
  /** Whether a replay's end is sent. */
  endsReplays = true

  private constructor(private readonly options: LossyOptions) {
    const common = { linger: 0, sendHighWaterMark: 0, ipv6: options.endpoint?.includes('[') ?? false }
    this.#socket = new XPublisher({ ...common, verbosity: 'allSubsUnsubs' })
    this.#router = options.replay === undefined ? undefined : new Router(common)
    this.#encoder = new EventEncoder(options.format ?? { form: 'map', dialect: 'vllm' })
    this.#topic = Buffer.from(options.topic ?? '')
    this.#next = options.first ?? 0
  }

  static async open(options: LossyOptions = {}): Promise<LossyPublisher> {
    const publisher = new LossyPublisher(options)
    const { endpoint = ANY, replayEndpoint = ANY, dial = false } = options
    publisher.#countSubscribers().catch(() => {})
    if (dial) publisher.#socket.connect(endpoint)
    else await bind(publisher.#socket, endpoint)
    const router = publisher.#router
    if (router !== undefined) {
      await bind(router, replayEndpoint)
      publisher.#answer(router).catch((error: unknown) => {
        if (!publisher.#closed) throw error
      })
    }
    return publisher
  }

  /** Closes this one and opens its successor in its place, which has cached nothing. */
  async restarted(options: LossyOptions = {}): Promise<LossyPublisher> {
    const { endpoint } = this
    const replayEndpoint = this.replayEndpoint ?? ANY
    await this.close()
    return LossyPublisher.open({ ...this.options, endpoint, replayEndpoint, ...options })
  }

  get endpoint(): string {
    return (this.options.dial ? this.options.endpoint : this.#socket.lastEndpoint) ?? ''
  }
  get replayEndpoint(): string | undefined {
    return this.#router?.lastEndpoint ?? undefined
  }
  /** The number of the next message. */
  get next(): number {
    return this.#next
  }

  /** Resolves when somebody has subscribed. */
  async subscribed(): Promise<this> {
    await until(() => this.#subscribers > 0, 'nobody subscribed')
    return this
  }
  async unsubscribed(): Promise<void> {
    await until(() => this.#subscribers === 0, 'somebody is still subscribed')
  }

  /** Numbers a batch and keeps it for replays, but does not send it. */
  lose(...events: readonly KvEvent[]): Message {
    return this.keep(
      this.#encoder.encode({ time: Date.now() / 1000, events, rank: this.options.rank ?? null }),
    )
  }

  /** Numbers any payload. */
  keep(payload: Buffer): Message {
    const message = { number: this.#next, sequence: sequenceFrame(this.#next), payload }
    this.#next += 1
    this.#kept.push(message)
    const { buffer } = this.options
    if (buffer !== undefined && this.#kept.length > buffer) this.#kept.shift()
    return message
  }

  publish(...events: readonly KvEvent[]): Message {
    const message = this.lose(...events)
    this.send(message)
    return message
  }

  send({ sequence, payload }: Message): void {
    this.raw([this.#topic, sequence, payload])
  }

  /** Sends any parts. */
  raw(parts: readonly Buffer[]): void {
    this.#sending = this.#sending.then(() => (this.#closed ? undefined : this.#socket.send([...parts])))
  }

  /** Resolves when all is handed over to the socket. */
  sent(): Promise<void> {
    return this.#sending
  }

  async close(): Promise<void> {
    if (this.#closed) return
    await this.#sending
    this.#closed = true
    // No unbind before: zeromq.js does that on another thread, and a message that comes then aborts the process.
    this.#socket.close()
    this.#router?.close()
  }

  async #countSubscribers(): Promise<void> {
    for await (const [frame] of this.#socket) {
      const isNew = frame?.[0] === 1
      this.#subscribers += isNew ? 1 : -1
      if (isNew) this.subscriptions += 1
    }
  }

  async #answer(router: Router): Promise<void> {
    for await (const [client, , from] of router) {
      if (client === undefined || from === undefined) continue
      const first = Number(from.readBigUInt64BE())
      this.asked.push(first)
      const head = this.options.replay === 'bare' ? [client, ''] : [client, '', this.#topic]
      for (const { sequence, payload } of this.replaying(this.#kept.filter(({ number }) => number >= first)))
        await router.send([...head, sequence, payload])
      const end = this.options.replay === 'bare' ? [client, ''] : [client, '', '']
      if (this.endsReplays) await router.send([...end, sequenceFrame(END_OF_REPLAY), ''])
    }
  }
}

/** A port that a predecessor just left may be taken for a moment. */
async function bind(socket: XPublisher | Router, endpoint: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    try {
      return await socket.bind(endpoint)
    } catch (error) {
      if (tries === 100) throw error
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
}
