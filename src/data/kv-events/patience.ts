/**
 * Timeouts of what is waited for from the network. A thread that could not run for a while finds its timers due before
 * it has read what came in time: so what has come is read first.
 */
export class Patience {
  #timer: NodeJS.Timeout | undefined
  #immediate: NodeJS.Immediate | undefined

  /** Calls once the time, ms, has passed, unless it is begun anew or ended before. */
  begin(ms: number, over: () => void): void {
    this.end()
    this.#timer = setTimeout(() => {
      // The loop reads between its timers and its immediates.
      this.#immediate = setImmediate(over)
    }, ms)
  }

  end(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#immediate)
  }
}
