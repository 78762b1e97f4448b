/** Runs the engine model in real time: one timer, set to the model's next event. */
import type { EngineEvent, EngineRequest } from './request.js'
import type { Engine } from './scheduler.js'

/** Milliseconds that only grow, and a way to be called later: the process's own, or a test's. */
export interface Timing {
  now(): number
  /** Calls back after `ms`; answers what cancels it. */
  after(ms: number, callback: () => void): () => void
}

export const realTiming: Timing = {
  now: () => performance.now(),
  after(ms, callback) {
    // Below a millisecond Node rounds up to one: rather run at the end of this turn of the loop.
    if (ms < 0.5) {
      const immediate = setImmediate(callback)
      return () => clearImmediate(immediate)
    }
    const timer = setTimeout(callback, ms)
    return () => clearTimeout(timer)
  },
}

export type EventListener = (event: EngineEvent) => void

export class EngineDriver {
  private readonly listeners = new Map<string, EventListener>()
  private readonly start: number
  private cancel: (() => void) | null = null
  private wakesAt = Number.POSITIVE_INFINITY

  /** @param speed model milliseconds per real one */
  constructor(
    readonly engine: Engine,
    private readonly speed: number,
    private readonly timing: Timing = realTiming,
  ) {
    this.start = timing.now()
  }

  /** Throws as `Engine.submit` does. Events come later, never within this call. */
  submit(request: EngineRequest, listener: EventListener): void {
    this.engine.submit(request, this.now())
    this.listeners.set(request.id, listener)
    this.arm()
  }

  abort(id: string): void {
    this.listeners.delete(id)
    this.engine.abort(id, this.now())
    this.arm()
  }

  /** Gives back the blocks that a finished request holds for another engine. */
  release(id: string): void {
    this.engine.release(id, this.now())
    this.arm()
  }

  close(): void {
    this.cancel?.()
    this.cancel = null
    this.listeners.clear()
  }

  /** The model's time. It depends on the clock alone, so late timers delay events but never slow the model down. */
  private now(): number {
    return (this.timing.now() - this.start) * this.speed
  }

  private arm(): void {
    const at = this.engine.nextEventAt()
    if (at === this.wakesAt) return
    this.cancel?.()
    this.cancel = null
    this.wakesAt = at
    if (at === Number.POSITIVE_INFINITY) return
    this.cancel = this.timing.after(Math.max(0, (at - this.now()) / this.speed), () => this.wake())
  }

  private wake(): void {
    this.cancel = null
    this.wakesAt = Number.POSITIVE_INFINITY
    for (const event of this.engine.advance(this.now())) {
      const listener = this.listeners.get(event.id)
      if (event.type === 'finished') this.listeners.delete(event.id)
      listener?.(event)
    }
    this.arm()
  }
}
