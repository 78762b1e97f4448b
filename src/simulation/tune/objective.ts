/** What a run is judged by, and how one run is better than another. */
import type { SimulationResult } from '../virtual/result.js'
import type { Objective } from './schema.js'

interface Measure {
  /** Milliseconds, or a part of the requests. */
  of(result: SimulationResult): number
  readonly unit: 'ms' | 'part'
}

const measures: Readonly<Record<Objective, Measure>> = {
  'ttft-mean': { of: ({ ttftMs }) => ttftMs.mean, unit: 'ms' },
  'ttft-p90': { of: ({ ttftMs }) => ttftMs.p90, unit: 'ms' },
  'ttft-p99': { of: ({ ttftMs }) => ttftMs.p99, unit: 'ms' },
  'e2e-mean': { of: ({ e2eMs }) => e2eMs.mean, unit: 'ms' },
  // The part, not requests per second: the time of a run ends with its last straggler, and more is not asked for.
  goodput: { of: ({ goodput }) => goodput.fraction, unit: 'part' },
}

/** The objective's value: milliseconds, less is better; or the part of all requests in the SLO, more is better. */
export const objectiveOf = (objective: Objective, result: SimulationResult): number =>
  measures[objective].of(result)

export const unitOf = (objective: Objective): Measure['unit'] => measures[objective].unit

export const rejectedOf = ({ requests, completed }: SimulationResult): number => requests - completed

/**
 * What the search makes least. Times are those of completed requests, so a profile that turns the slow ones away would
 * look fast: whoever rejects more than the profile as given is out, and so is who completes nothing.
 *
 * @param allowed most rejected requests
 */
export function lossOf(objective: Objective, result: SimulationResult, allowed: number): number {
  const value = objectiveOf(objective, result)
  if (unitOf(objective) === 'part') return Number.isNaN(value) ? Number.POSITIVE_INFINITY : -value
  return Number.isNaN(value) || rejectedOf(result) > allowed ? Number.POSITIVE_INFINITY : value
}

/**
 * By how much `best` is better than `given`: of times the part that is saved, of goodput the difference, which is a part of
 * all requests already. 0.1 is a tenth less time, or ten requests in a hundred more. NaN where there is nothing to compare.
 */
export function gainOf(objective: Objective, given: number, best: number): number {
  if (unitOf(objective) === 'part') return best - given
  return given === 0 ? (best === 0 ? 0 : Number.NaN) : (given - best) / given
}

/** A gain for people: `+3.4 %`, or `+3.4 points` of goodput. */
export const gainText = (objective: Objective, gain: number): string =>
  Number.isFinite(gain) ? `${gain > 0 ? '+' : ''}${amountText(objective, gain)}` : '–'

/** A gain's spread: `3.4 %`. */
export const amountText = (objective: Objective, gain: number): string =>
  Number.isFinite(gain) ? `${(100 * gain).toFixed(1)} ${unitOf(objective) === 'part' ? 'points' : '%'}` : '–'

/** The objective's value for people: `123 ms`, or `93.2 %` of the requests. */
export function valueText(objective: Objective, value: number): string {
  if (!Number.isFinite(value)) return '–'
  if (unitOf(objective) === 'part') return `${(100 * value).toFixed(1)} %`
  // Deviations of equal values are not always 0 in their last bit.
  if (value < 0.001) return '0 ms'
  return `${value < 100 ? value.toPrecision(3) : Math.round(value).toLocaleString('en')} ms`
}
