/** Who may replay when: a few at a time over the whole fleet, in the order they asked. */
import type { Context } from 'zeromq'
import { Replay, type ReplayEnd, type ReplayLimits } from './replay.js'

/**
 * Replays at a time. Each may bring tens of megabytes, which are decoded on this thread beside everyone's live events;
 * after a router's start a whole fleet wants one. With four, one slow engine does not hold up the rest.
 */
export const REPLAYS_AT_ONCE = 4

export interface ReplayRequest {
  readonly endpoint: string
  /** Sequence number to start from, known only when its turn has come; undefined if there is no need any more. */
  from(): number | undefined
  batch(sequence: Buffer, payload: Buffer): void
  end(end: ReplayEnd): void
}

export class Replays {
  readonly #waiting = new Set<ReplayRequest>()
  readonly #running = new Map<ReplayRequest, Replay>()

  constructor(
    private readonly context: Context,
    private readonly limits: ReplayLimits,
    private readonly atOnce = REPLAYS_AT_ONCE,
  ) {}

  request(request: ReplayRequest): void {
    this.#waiting.add(request)
    this.#next()
  }

  /** Whoever asked is gone: nothing is told of it any more. */
  cancel(request: ReplayRequest): void {
    this.#waiting.delete(request)
    const replay = this.#running.get(request)
    this.#running.delete(request)
    replay?.close()
    this.#next()
  }

  #next(): void {
    for (const request of this.#waiting) {
      if (this.#running.size >= this.atOnce) return
      this.#waiting.delete(request)
      const from = request.from()
      if (from !== undefined) this.#start(request, from)
    }
  }

  #start(request: ReplayRequest, from: number): void {
    const isOn = () => this.#running.get(request) === replay
    const replay = new Replay(
      this.context,
      request.endpoint,
      BigInt(from),
      this.limits,
      (sequence, payload) => {
        if (isOn()) request.batch(sequence, payload)
      },
    )
    this.#running.set(request, replay)
    void replay.ended.then(end => {
      if (!isOn()) return
      this.#running.delete(request)
      request.end(end)
      this.#next()
    })
  }
}
