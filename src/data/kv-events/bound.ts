/**
 * Engines that dial in to publish: they share the router's sockets, and their topics tell them apart. A topic names a
 * pod by its id or by the address of its URL; ranks of one engine are told apart by the rank in their batches.
 */
import { type Context, Subscriber } from 'zeromq'
import type { PodFeed } from './pod-feed.js'
import { pump } from './pump.js'
import { type Limits, listenerOptions } from './socket-options.js'
import type { EventSource } from './source.js'
import { publisherOf } from './topic.js'

/**
 * Topics remembered, so that they need not be taken apart for each message: a pod has one, or one for each of its
 * models, and the index holds 1,024 pods.
 */
const MOST_TOPICS = 4096
/** Bytes of a topic that is remembered: an address and a model's name are some dozens. */
const MOST_TOPIC_BYTES = 512

export interface BoundEvents {
  /** A feed for a pod from which the first message came. */
  open(source: EventSource): PodFeed
  /** A message whose topic names no known pod. */
  unknownTopic(topic: string): void
  badMessage(parts: readonly Buffer[]): void
  warn(text: string): void
}

/** A pod that may dial in. */
interface Caller {
  readonly source: EventSource
  /** Undefined until something came. */
  feed: PodFeed | undefined
  /** What came in the present batch of messages. */
  frames: Buffer[]
}

export class Bound {
  readonly #sockets: Subscriber[] = []
  readonly #callers = new Map<number, Caller>()
  /** By the bytes of the topic, one character each: ranks in order. Rebuilt as topics come; bounded. */
  readonly #byTopic = new Map<string, readonly Caller[]>()
  readonly #touched = new Set<Caller>()

  constructor(
    context: Context,
    endpoints: readonly string[],
    limits: Limits,
    private readonly events: BoundEvents,
  ) {
    for (const endpoint of endpoints) {
      const socket = new Subscriber({ ...listenerOptions(endpoint, limits), context })
      this.#sockets.push(socket)
      socket.subscribe()
      this.#listen(socket, endpoint).catch((error: unknown) => {
        if (!socket.closed) events.warn(`${endpoint} is not listened on: ${String(error)}`)
      })
    }
  }

  async #listen(socket: Subscriber, endpoint: string): Promise<void> {
    await socket.bind(endpoint)
    await pump(socket, { message: parts => this.#message(parts), flush: () => this.#flush() })
  }

  attach(source: EventSource): void {
    this.#callers.set(source.ref, { source, feed: undefined, frames: [] })
    this.#byTopic.clear()
  }

  detach(ref: number): void {
    const caller = this.#callers.get(ref)
    if (caller === undefined) return
    this.#callers.delete(ref)
    this.#touched.delete(caller)
    this.#byTopic.clear()
    caller.feed?.close()
  }

  /**
   * Perhaps another engine answers in the pod's place: as after a lost connection, its last batch is asked for once
   * more. On a socket that many share nobody sees whose connection was lost, so it is told from outside.
   */
  verify(ref: number): void {
    const feed = this.#callers.get(ref)?.feed
    feed?.down()
    feed?.up()
  }

  close(): void {
    for (const socket of this.#sockets) socket.close()
    for (const ref of [...this.#callers.keys()]) this.detach(ref)
  }

  #message(parts: Buffer[]): number {
    const [topic, sequence, payload] = parts
    if (topic === undefined || sequence === undefined || payload === undefined || parts.length > 3) {
      this.events.badMessage(parts)
      return 0
    }
    const caller = this.#callerOf(topic, payload)
    if (caller === undefined) this.events.unknownTopic(topic.toString())
    else {
      caller.frames.push(sequence, payload)
      this.#touched.add(caller)
    }
    return payload.length
  }

  #flush(): void {
    for (const caller of this.#touched) {
      const { frames } = caller
      caller.frames = []
      this.#feedOf(caller).batch(frames)
    }
    this.#touched.clear()
  }

  #feedOf(caller: Caller): PodFeed {
    if (caller.feed === undefined) {
      caller.feed = this.events.open(caller.source)
      // The only word of a connection there is: on a socket that many share, nobody can tell whose broke. A lost
      // message shows as a gap, and an engine that starts anew by its numbers.
      caller.feed.up()
    }
    return caller.feed
  }

  #callerOf(topic: Buffer, payload: Buffer): Caller | undefined {
    const key = topic.toString('latin1')
    let ranks = this.#byTopic.get(key)
    if (ranks === undefined) {
      ranks = this.#named(publisherOf(topic.toString()))
      // Topics of nobody are not remembered, nor all that a pod may have: there could be ever new ones.
      if (this.#byTopic.size >= MOST_TOPICS) this.#byTopic.clear()
      if (ranks.length > 0 && topic.length <= MOST_TOPIC_BYTES) this.#byTopic.set(key, ranks)
    }
    const [first] = ranks
    if (first === undefined || ranks.length === 1) return first
    const rank = this.#feedOf(first).rankOf(payload)
    return rank < 0 ? first : ranks.find(({ source }) => source.rank === rank)
  }

  #named(publisher: string | undefined): readonly Caller[] {
    const callers = [...this.#callers.values()]
    const byId = callers.filter(({ source }) => source.id === publisher)
    return byId.length > 0
      ? byId
      : callers.filter(({ source }) => source.name === publisher || source.address === publisher)
  }
}
