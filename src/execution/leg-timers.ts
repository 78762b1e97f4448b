/** Timers of a request that are all cleared at its end. */
export class LegTimers {
  #timers: NodeJS.Timeout[] = []

  set(ms: number, work: () => void): void {
    this.#timers.push(setTimeout(work, ms))
  }

  clear(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    this.#timers = []
  }
}
