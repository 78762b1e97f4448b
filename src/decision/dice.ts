/**
 * Chance for pickers, in whole numbers. Seeded once from the injected source and then on its own: `Math.random` and any
 * function that is not inlined answer with a boxed double, 16 bytes of garbage on every draw. The sequence is
 * SplitMix's scheme in 32 bits: a counter in steps of 2^32 / golden ratio, through MurmurHash3's finaliser.
 */
import { isDrawn, rolled } from './draws.js'
import { mix32 } from './hash.js'

const GOLDEN = 0x9e3779b9

export class Dice {
  readonly #state: Uint32Array

  /** `random` is 0 ≤ x < 1, called once. */
  constructor(random: () => number) {
    this.#state = Uint32Array.of(Math.floor(random() * 2 ** 32))
  }

  /** A whole number from 0 to `sides` - 1, each as likely as another (to 1 in 2^32 / `sides`). */
  roll(sides: number): number {
    const next = (this.#state[0] ?? 0) + GOLDEN
    this.#state[0] = next
    const draw = isDrawn() ? rolled(mix32(next)) : mix32(next)
    return Math.floor((draw / 2 ** 32) * sides)
  }
}
