/**
 * One coarse clock per worker for all time-outs of requests under way. A timer of its own costs a request a microsecond
 * to make and clear, and each chunk of a stream would have to push it back; with a shared clock a chunk notes an
 * integer, and one pass every tick looks at all requests (1,000 of them: about 10 µs in 100 ms).
 */

export interface Watched {
  /** Called once a tick while being watched; may add and remove watched ones. */
  check(tick: number): void
}

/** Time-outs are in seconds, so being up to a tenth of a second late is fine. */
const TICK_MS = 100

export class Watchdog {
  /** Ticks since the start. */
  tick = 0
  readonly #watched = new Set<Watched>()
  readonly #timer: NodeJS.Timeout

  constructor(private readonly tickMs = TICK_MS) {
    this.#timer = setInterval(() => this.#pass(), tickMs)
    // A router is kept alive by its listener; the clock alone must not keep a process up.
    this.#timer.unref()
  }

  get size(): number {
    return this.#watched.size
  }

  /** A time as ticks, rounded up: never early, late by a tick at most. 0 (no limit) becomes Infinity. */
  ticks(ms: number): number {
    return ms > 0 ? Math.ceil(ms / this.tickMs) : Number.POSITIVE_INFINITY
  }

  add(watched: Watched): void {
    this.#watched.add(watched)
  }

  delete(watched: Watched): void {
    this.#watched.delete(watched)
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #pass(): void {
    this.tick++
    for (const watched of this.#watched) watched.check(this.tick)
  }
}
