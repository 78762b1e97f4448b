/** Times to the first byte of the last answers, and how long to wait before a second pod is asked. */

/**
 * Answers remembered of one model, in one worker: 5 % of them are 25, so that a percentile of 95 stands on more than a
 * few, and 4 KiB. At 10 requests a second it is what the last minute was like.
 */
const WINDOW = 512
/** Fewer than these have no 95th percentile but their largest. */
const LEAST = 64
/** Sorting 512 numbers takes some 20 µs: once for so many answers, it is half a µs each. */
const EVERY = 32

/** The last times of one kind of answers. */
class Window {
  readonly #times = new Float64Array(WINDOW)
  readonly #sorted = new Float64Array(WINDOW)
  #count = 0
  #next = 0
  #wait: number | undefined

  add(ms: number, percentile: number): void {
    this.#times[this.#next] = ms
    this.#next = (this.#next + 1) % WINDOW
    if (this.#count < WINDOW) this.#count++
    if (this.#count >= LEAST && (this.#wait === undefined || this.#next % EVERY === 0))
      this.#settle(percentile)
  }

  /** The percentile as of the last sorting; undefined while too few answers are known. */
  get wait(): number | undefined {
    return this.#wait
  }

  #settle(percentile: number): void {
    const sorted = this.#sorted.subarray(0, this.#count)
    sorted.set(this.#times.subarray(0, this.#count))
    sorted.sort()
    this.#wait = sorted[Math.min(Math.ceil((percentile / 100) * this.#count), this.#count) - 1]
  }
}

/** Windows kept: models that a worker serves, streams and whole answers of each apart. The oldest one goes first. */
const MOST_WINDOWS = 512

/** First bytes by kind of answer. */
export class FirstBytes {
  readonly #windows = new Map<string, Window>()

  constructor(private readonly percentile: number) {}

  add(kind: string, ms: number): void {
    let window = this.#windows.get(kind)
    if (window === undefined) {
      const [oldest] = this.#windows.keys()
      if (this.#windows.size >= MOST_WINDOWS && oldest !== undefined) this.#windows.delete(oldest)
      window = new Window()
      this.#windows.set(kind, window)
    }
    window.add(ms, this.percentile)
  }

  /** What the percentile of the last answers took, in ms; undefined while it is not known. */
  wait(kind: string): number | undefined {
    return this.#windows.get(kind)?.wait
  }
}

/** What may be spent on second copies: a share of the requests, and a few at once. */
export class HedgeBudget {
  #left = 0

  /** `share`: of 0 to 1. `burst`: most that are saved up. */
  constructor(
    private readonly share: number,
    private readonly burst: number,
  ) {}

  /** A request came. */
  earn(): void {
    this.#left = Math.min(this.#left + this.share, this.burst)
  }

  spend(): boolean {
    if (this.#left < 1) return false
    this.#left -= 1
    return true
  }
}
