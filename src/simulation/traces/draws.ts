/** Draws from a seeded source of numbers in [0, 1). */
import type { Random } from '../engine/random.js'

/** An exponential distribution of that mean: the gaps of a Poisson process. */
export const exponential = (random: Random, mean: number): number => -Math.log(1 - random()) * mean

/** A whole number, at least 1, uniform within `spread` (0 to 1) of the mean on both sides. */
export const about = (random: Random, mean: number, spread: number): number =>
  Math.max(1, Math.round(mean * (1 + spread * (2 * random() - 1))))
