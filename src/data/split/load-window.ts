/** The mean load over a window of looks: of the last so many that said something. */
import type { Load } from './demand.js'

export class LoadWindow {
  readonly #tokens: Float64Array
  readonly #decode: Float64Array
  #next = 0
  #count = 0
  #silent = 0

  /** `looks`: their number in a window, 1 at least. */
  constructor(looks: number) {
    this.#tokens = new Float64Array(looks)
    this.#decode = new Float64Array(looks)
  }

  /** Whether it holds a whole window. */
  get isFull(): boolean {
    return this.#count === this.#tokens.length
  }

  /** Of the looks there are; undefined before the first. */
  get mean(): Load | undefined {
    if (this.#count === 0) return undefined
    return { tokensPerMs: total(this.#tokens) / this.#count, decode: total(this.#decode) / this.#count }
  }

  /** A look that does not say is passed over; after a window of such, nothing is known any more. */
  add({ tokensPerMs, decode }: Load): void {
    if (decode === undefined) {
      if (++this.#silent >= this.#tokens.length) this.clear()
      return
    }
    this.#silent = 0
    this.#tokens[this.#next] = tokensPerMs
    this.#decode[this.#next] = decode
    this.#next = (this.#next + 1) % this.#tokens.length
    this.#count = Math.min(this.#count + 1, this.#tokens.length)
  }

  clear(): void {
    this.#tokens.fill(0)
    this.#decode.fill(0)
    this.#next = 0
    this.#count = 0
  }
}

/** Summed anew each time, so that no rounding piles up. */
function total(values: Float64Array): number {
  let sum = 0
  for (const value of values) sum += value
  return sum
}
