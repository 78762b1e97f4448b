/** Looks that follow one another, each a while after the last one has ended. */
export class Poller {
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  /** `intervalMs` is from one look's end to the next one's beginning, unless the look itself says otherwise. */
  constructor(private readonly intervalMs: number) {}

  get stopped(): boolean {
    return this.#stopped
  }

  /** Begins; resolves after the first look. `look` must not reject; it may answer how long to wait for the next. */
  async start(look: () => Promise<number | void>): Promise<void> {
    const delay = (await look()) ?? this.intervalMs
    if (this.#stopped) return
    this.#timer = setTimeout(() => void this.start(look), delay)
    // Looking for pods is no reason for a process to go on.
    this.#timer.unref()
  }

  stop(): void {
    this.#stopped = true
    clearTimeout(this.#timer)
  }
}
