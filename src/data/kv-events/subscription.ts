/** The subscription to one pod: a SUB socket that connects, and connects again whenever it must. */
import { type Context, Subscriber } from 'zeromq'
import { pump } from './pump.js'
import { type Limits, subscriberOptions } from './socket-options.js'
import { watchConnection } from './watch.js'

export interface SubscriptionEvents {
  up(): void
  down(): void
  /** Sequence, payload, sequence, payload, … */
  batch(frames: Buffer[]): void
  /** A message of another form. */
  badMessage(parts: readonly Buffer[]): void
  /** What an operator should know of the connection. */
  warn(text: string): void
}

export class Subscription {
  #socket: Subscriber
  #frames: Buffer[] = []

  /** Throws on an endpoint that nothing can connect to. */
  constructor(
    private readonly context: Context,
    private readonly endpoint: string,
    private readonly topic: string,
    private readonly limits: Limits,
    private readonly events: SubscriptionEvents,
  ) {
    this.#socket = this.#open()
  }

  close(): void {
    this.#socket.close()
  }

  #open(): Subscriber {
    const { context, endpoint, limits, events } = this
    const socket = new Subscriber({ ...subscriberOptions(endpoint, limits), context })
    const failed = (error: unknown) => {
      events.warn(`${endpoint} is not read any more: ${String(error)}`)
      events.down()
    }
    this.#watch(socket).catch(failed)
    try {
      socket.subscribe(this.topic)
      socket.connect(endpoint)
    } catch (error) {
      socket.close()
      throw error
    }
    pump(socket, { message: parts => this.#message(parts), flush: () => this.#flush() }).catch(failed)
    return socket
  }

  #watch(socket: Subscriber): Promise<void> {
    const { events, endpoint } = this
    return watchConnection(socket, {
      up: () => events.up(),
      down: () => events.down(),
      refused: reason => events.warn(`what listens at ${endpoint} publishes no KV events: ${reason}`),
      given: () => {
        if (socket !== this.#socket || socket.closed) return
        socket.close()
        this.#socket = this.#open()
      },
    })
  }

  #message(parts: Buffer[]): number {
    const [, sequence, payload] = parts
    if (sequence === undefined || payload === undefined || parts.length > 3) {
      this.events.badMessage(parts)
      return 0
    }
    this.#frames.push(sequence, payload)
    return payload.length
  }

  #flush(): void {
    const frames = this.#frames
    if (frames.length === 0) return
    this.#frames = []
    this.events.batch(frames)
  }
}
