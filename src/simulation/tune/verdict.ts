/** What the figures of both parts mean, in sentences. */
import { amountText, gainOf, gainText } from './objective.js'
import type { Objective } from './schema.js'

/** A measure over several seeds. */
export interface Spread {
  readonly mean: number
  /** Sample standard deviation. */
  readonly deviation: number
}

/** The profile as given and the best one on a part of the trace, seed by seed. */
export interface Compared {
  /** Values of the objective, one for each seed. */
  readonly given: readonly number[]
  readonly best: readonly number[]
  /** Rejected requests, over all seeds. */
  readonly rejectedGiven: number
  readonly rejectedBest: number
}

export interface Verdict {
  /** Gain on the training part with the search's own seed: what the search believes. */
  readonly found: number
  /** Gains over the other seeds. */
  readonly training: Spread
  readonly heldBack: Spread
  /** Whether the held-back gain is one, and larger than its own deviation. */
  readonly holds: boolean
  readonly conclusion: string
  readonly warnings: readonly string[]
}

export function spreadOf(values: readonly number[]): Spread {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return { mean, deviation: Math.sqrt(squares / (values.length - 1)) }
}

/** @param found the gain that the search saw; 0 where nothing was better */
export function judge(objective: Objective, found: number, training: Compared, heldBack: Compared): Verdict {
  const gains = ({ given, best }: Compared): Spread =>
    spreadOf(given.map((value, at) => gainOf(objective, value, best[at] ?? Number.NaN)))
  const [trained, held] = [gains(training), gains(heldBack)]
  const isAny = found !== 0
  const holds = isAny && held.mean > 0 && held.mean > held.deviation
  return {
    found,
    training: trained,
    heldBack: held,
    holds,
    conclusion: conclude(objective, isAny, held, holds),
    warnings: isAny
      ? [
          ...fitWarnings(objective, found, held),
          ...chanceWarnings(objective, 'training', trained),
          ...chanceWarnings(objective, 'held-back', held),
          ...rejectionWarnings(heldBack),
        ]
      : [],
  }
}

function conclude(objective: Objective, isAny: boolean, held: Spread, holds: boolean): string {
  if (!isAny) return 'Nothing that was tried is better than the profile as given: keep it.'
  const gain = `${gainText(objective, held.mean)}, ± ${amountText(objective, held.deviation)} over seeds`
  return holds
    ? `On requests that the search has not seen, the gain is ${gain}: more than chance makes.`
    : `On requests that the search has not seen, the gain is ${gain}: keep the profile as given.`
}

function fitWarnings(objective: Objective, found: number, held: Spread): string[] {
  const gain = gainText(objective, held.mean)
  if (held.mean < 0) return [`on the held-back part the best is worse than the profile as given (${gain})`]
  if (held.mean >= found / 2) return []
  const seen = gainText(objective, found)
  return [
    `the held-back gain (${gain}) is less than half of what the search saw (${seen}): it fitted the training part, or its luck`,
  ]
}

function chanceWarnings(objective: Objective, part: string, { mean, deviation }: Spread): string[] {
  if (Math.abs(mean) > deviation) return []
  const spread = amountText(objective, deviation)
  return [
    `the ${part} gain (${gainText(objective, mean)}) is not larger than the spread over seeds (± ${spread}): who wins ties may have made it`,
  ]
}

function rejectionWarnings({ rejectedGiven, rejectedBest }: Compared): string[] {
  if (rejectedBest <= rejectedGiven) return []
  return [
    `on the held-back part the best rejects more (${rejectedBest} against ${rejectedGiven} over all seeds); times are those of the others`,
  ]
}
