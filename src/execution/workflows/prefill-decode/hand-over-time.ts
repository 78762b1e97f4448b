/**
 * How long a hand-off takes, learned from decode steps: from sending to the first byte, by the tokens that its pod had to
 * get. A line fitted to the last fifty, by least squares with exponential forgetting: what a hand-off takes whatever its
 * size, and what each token adds. Each thread learns from its own requests.
 */

/** As the latency model's: the last fifty count. */
const MEMORY = 0.98
/** Hand-offs from which on what they took is believed. */
const ENOUGH = 5
/**
 * Until then: 128 KiB a token (an 8B model in 16 bits) at 100 Gbit/s, and ten milliseconds for two engines' messages and
 * a decode step.
 */
const UNKNOWN_MS_PER_TOKEN = 0.0105
const UNKNOWN_MS = 10
/** Spread of lengths below which their price can't be told from the rest: a fifth of their mean. */
const LEAST_SPREAD = 0.2

export class HandOverTime {
  #count = 0
  #tokens = 0
  #ms = 0
  #tokens2 = 0
  #tokensMs = 0

  learn(tokens: number, ms: number): void {
    if (!(tokens >= 0 && ms >= 0 && ms < 3_600_000)) return
    this.#count = this.#count * MEMORY + 1
    this.#tokens = this.#tokens * MEMORY + tokens
    this.#ms = this.#ms * MEMORY + ms
    this.#tokens2 = this.#tokens2 * MEMORY + tokens * tokens
    this.#tokensMs = this.#tokensMs * MEMORY + tokens * ms
  }

  /** Milliseconds until a decode pod that lacks so many tokens of the prompt answers. */
  of(tokens: number): number {
    if (this.#count < ENOUGH) return UNKNOWN_MS + tokens * UNKNOWN_MS_PER_TOKEN
    const mean = this.#tokens / this.#count
    const meanMs = this.#ms / this.#count
    const variance = this.#tokens2 / this.#count - mean * mean
    const covariance = this.#tokensMs / this.#count - mean * meanMs
    // Of equal lengths nothing can be told but that those of this length take so long; others by the length.
    if (!(variance > (LEAST_SPREAD * mean) ** 2)) return mean > 0 ? meanMs * (tokens / mean) : meanMs
    const slope = Math.max(0, covariance / variance)
    return Math.max(0, meanMs + slope * (tokens - mean))
  }
}
