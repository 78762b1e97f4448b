/** The subscription to one pod: a SUB socket that connects, and connects again whenever it must. */
import { type Context, Subscriber } from 'zeromq'
import { pump } from './pump.js'
import { type Limits, subscriberOptions } from './socket-options.js'
import { watchConnections } from './watch.js'

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
  readonly #socket: Subscriber

  /** Throws on an endpoint that nothing can connect to. */
  constructor(
    context: Context,
    private readonly endpoint: string,
    topic: string,
    limits: Limits,
    private readonly events: SubscriptionEvents,
  ) {
    this.#socket = new Subscriber({ ...subscriberOptions(endpoint, limits), context })
    try {
      this.#watch()
      this.#socket.subscribe(topic)
      this.#socket.connect(endpoint)
    } catch (error) {
      this.#socket.close()
      throw error
    }
    this.#pump()
  }

  #watch(): void {
    const { events, endpoint } = this
    const failed = (error: unknown) => events.warn(`${endpoint} is not watched any more: ${String(error)}`)
    watchConnections(this.#socket, {
      up: () => events.up(),
      down: () => events.down(),
      refused: reason => events.warn(`what listens at ${endpoint} publishes no KV events: ${reason}`),
    }).catch(failed)
  }

  #pump(): void {
    const { events } = this
    let frames: Buffer[] = []
    const sink = {
      message: (parts: Buffer[]): number => {
        const [, sequence, payload] = parts
        if (sequence === undefined || payload === undefined || parts.length > 3) {
          events.badMessage(parts)
          return 0
        }
        frames.push(sequence, payload)
        return payload.length
      },
      flush: () => {
        const full = frames
        if (full.length === 0) return
        frames = []
        events.batch(full)
      },
    }
    pump(this.#socket, sink).catch((error: unknown) => {
      events.warn(`${this.endpoint} is not read any more: ${String(error)}`)
      events.down()
    })
  }

  close(): void {
    this.#socket.close()
  }
}
