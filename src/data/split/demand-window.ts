/** The mean demand over a window of looks: of the last so many that said something. */
import type { Demand } from './demand.js'

export class DemandWindow {
  readonly #prefill: Float64Array
  readonly #decode: Float64Array
  #next = 0
  #count = 0
  #silent = 0

  /** `looks`: their number in a window, 1 at least. */
  constructor(looks: number) {
    this.#prefill = new Float64Array(looks)
    this.#decode = new Float64Array(looks)
  }

  /** Whether it holds a whole window. */
  get isFull(): boolean {
    return this.#count === this.#prefill.length
  }

  /** Of the looks there are; undefined before the first. */
  get mean(): { readonly prefill: number; readonly decode: number } | undefined {
    if (this.#count === 0) return undefined
    return { prefill: total(this.#prefill) / this.#count, decode: total(this.#decode) / this.#count }
  }

  /** A look that does not say is passed over; after a window of such, nothing is known any more. */
  add({ prefill, decode }: Demand): void {
    if (prefill === undefined || decode === undefined) {
      if (++this.#silent >= this.#prefill.length) this.clear()
      return
    }
    this.#silent = 0
    this.#prefill[this.#next] = prefill
    this.#decode[this.#next] = decode
    this.#next = (this.#next + 1) % this.#prefill.length
    this.#count = Math.min(this.#count + 1, this.#prefill.length)
  }

  clear(): void {
    this.#prefill.fill(0)
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
