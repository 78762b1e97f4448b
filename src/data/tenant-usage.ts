/**
 * How many prompt tokens each tenant had computed lately, over all threads: counters in shared memory for two windows,
 * of which the older one fades out while the newer one fills. Tenants are known by hash; of ten thousand, one in three
 * shares its counter with another, of a hundred, one in forty.
 */
export interface TenantHandle {
  readonly memory: SharedArrayBuffer
}

const BUCKETS = 4096
/** Number of the newer window; then for each parity: tenants, tokens, buckets. */
const HALF = 2 + BUCKETS

export const createTenantMemory = (): TenantHandle => ({
  memory: new SharedArrayBuffer((1 + 2 * HALF) * Int32Array.BYTES_PER_ELEMENT),
})

/** One thread's access. */
export class TenantUsage {
  readonly #words: Int32Array

  constructor(
    { memory }: TenantHandle,
    /** Milliseconds. */
    private readonly now: () => number,
    /** Milliseconds of a window: a share is that of the last one to two. */
    private readonly windowMs = 10_000,
  ) {
    this.#words = new Int32Array(memory)
  }

  /** The tenant has so many tokens computed. */
  note(hash: number, tokens: number): void {
    const half = this.#half(this.#window())
    const before = Atomics.add(this.#words, half + 2 + (hash % BUCKETS), tokens)
    if (before === 0 && tokens > 0) Atomics.add(this.#words, half, 1)
    Atomics.add(this.#words, half + 1, tokens)
  }

  /** The tenant's part of all tokens, as a multiple of its fair part; 0 if it had none, 1 if it is alone. */
  excess(hash: number): number {
    const window = this.#window()
    const newer = this.#half(window)
    const older = this.#half(window + 1)
    const fading = 1 - (this.now() / this.windowMs - window)
    const at = (offset: number): number =>
      (this.#words[newer + offset] ?? 0) + fading * (this.#words[older + offset] ?? 0)
    const all = at(1)
    // Those of either window: whoever was there in both counts once in each, so the larger number is nearer.
    const tenants = Math.max(this.#words[newer] ?? 0, this.#words[older] ?? 0, 1)
    return all > 0 ? (at(2 + (hash % BUCKETS)) / all) * tenants : 0
  }

  readonly #half = (window: number): number => 1 + (window & 1) * HALF

  /** The number of the present window. Whoever is the first in it empties its half, which held the one before the last. */
  #window(): number {
    // 31 bits: at ten seconds a window, 680 years.
    const window = Math.floor(this.now() / this.windowMs) & 0x7fffffff
    const known = Atomics.load(this.#words, 0)
    if (window <= known) return known
    if (Atomics.compareExchange(this.#words, 0, known, window) === known) {
      const half = this.#half(window)
      this.#words.fill(0, half, half + HALF)
      const other = this.#half(window + 1)
      if (window > known + 1) this.#words.fill(0, other, other + HALF)
    }
    return window
  }
}
