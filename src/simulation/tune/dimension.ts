/** A number that the search may choose, and its range as places between 0 and 1. */

export interface Dimension {
  /** As users name it: `prefill-time.kvRoom`. */
  readonly label: string
  /** The value in the profile as given; it may lie outside the range. */
  readonly given: number
  readonly low: number
  readonly high: number
  readonly isInteger: boolean
  /** The only values there are, ascending; null: all of the range. */
  readonly choices: readonly number[] | null
}

/** Ranges of positive numbers, unless they are so wide that their ratio is no number. */
const isLogarithmic = (low: number, high: number): boolean => low > 0 && Number.isFinite(high / low)

/**
 * The value at a place, 0 to 1. Ranges of positive numbers are walked by their logarithm, since a weight of 4 is to 2 as 2 is
 * to 1. Three digits are all that a simulation can tell apart, and what a configuration should hold.
 */
export function valueAt({ low, high, isInteger, choices }: Dimension, place: number): number {
  if (choices !== null) {
    const at = Math.min(choices.length - 1, Math.floor(place * choices.length))
    return choices[at] ?? low
  }
  const value = isLogarithmic(low, high) ? low * (high / low) ** place : low + (high - low) * place
  const rounded = isInteger ? Math.round(value) : Number(value.toPrecision(3))
  return Math.min(high, Math.max(low, rounded))
}

/** The place of a value, or of the nearest that the range has; of choices, the middle of its share. */
export function placeOf({ low, high, choices }: Dimension, value: number): number {
  if (choices !== null) {
    const nearest = choices.reduce(
      (best, choice, at) => (Math.abs(choice - value) < Math.abs((choices[best] ?? low) - value) ? at : best),
      0,
    )
    return (nearest + 0.5) / choices.length
  }
  if (high === low) return 0.5
  const within = Math.min(high, Math.max(low, value))
  return isLogarithmic(low, high)
    ? Math.log(within / low) / Math.log(high / low)
    : (within - low) / (high - low)
}

/** The least step that leads to another value. */
export const leastStep = ({ choices }: Dimension): number => (choices === null ? 0 : 1 / choices.length)

/** Whether the search could come to the value. */
export const isWithin = ({ low, high, choices }: Dimension, value: number): boolean =>
  choices === null ? value >= low && value <= high : choices.includes(value)
