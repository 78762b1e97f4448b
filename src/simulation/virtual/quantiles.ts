/** Distributions in a few numbers. */

export interface Distribution {
  readonly mean: number
  readonly p50: number
  readonly p90: number
  readonly p99: number
}

/** Of sorted samples, by nearest rank; NaN without any. */
export const quantileOf = (sorted: Float64Array, q: number): number =>
  sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN

export const meanOf = (samples: Float64Array): number =>
  samples.reduce((sum, value) => sum + value, 0) / samples.length

/** Sorts its samples in place. */
export function distributionOf(samples: Float64Array): Distribution {
  samples.sort()
  const at = (q: number): number => quantileOf(samples, q)
  return { mean: meanOf(samples), p50: at(0.5), p90: at(0.9), p99: at(0.99) }
}
