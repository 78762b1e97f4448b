/**
 * Chance for pickers, in whole numbers. Seeded once from the injected source and then on its own: `Math.random` and any
 * function that is not inlined answer with a boxed double, 16 bytes of garbage on every draw. The sequence is
 * SplitMix's scheme in 32 bits: a counter in steps of 2^32 / golden ratio, through MurmurHash3's finaliser.
 */
import { isDrawn, rolled } from './draws.js'
import { mixWord } from './hash.js'

const GOLDEN = 0x9e3779b9

export class Dice {
  /** The counter, and what was drawn last: the one place from which it comes unsigned without a box. */
  readonly #words = new Uint32Array(2)

  /** `random` is 0 ≤ x < 1, called once. */
  constructor(random: () => number) {
    this.#words[0] = Math.floor(random() * 2 ** 32)
  }

  /** A whole number from 0 to `sides` - 1, each as likely as another (to 1 in 2^32 / `sides`). */
  roll(sides: number): number {
    const words = this.#words
    const next = ((words[0] ?? 0) + GOLDEN) | 0
    words[0] = next
    words[1] = mixWord(next)
    if (isDrawn()) words[1] = rolled(words[1] ?? 0)
    return Math.floor(((words[1] ?? 0) / 2 ** 32) * sides)
  }
}
