/** The parameter search as a whole: split, search on the first part, compare on both over several seeds. */
import type { Profile } from '../../decision/profile.js'
import type { PluginRegistry } from '../../decision/registry.js'
import type { SimulationResult } from '../virtual/result.js'
import type { Scenario } from '../virtual/scenario.js'
import { simulate } from '../virtual/simulate.js'
import type { Workload } from '../virtual/workload.js'
import { candidate } from './candidate.js'
import { jittered } from './jitter.js'
import { gainOf, lossOf, objectiveOf, rejectedOf } from './objective.js'
import type { Objective } from './schema.js'
import { type Phase, type SearchResult, search } from './search.js'
import type { Split } from './split.js'
import type { Knob } from './vary.js'
import { type Compared, judge, type Verdict } from './verdict.js'

export interface Tuning {
  /** Fleet, profile and all else that is the same in each run; its workload is not run. */
  readonly scenario: Scenario
  readonly split: Split
  readonly registry: PluginRegistry
  readonly knobs: readonly Knob[]
  readonly objective: Objective
  readonly trials: number
  /** Seeds of the final comparison: those after the scenario's own. At least 2. */
  readonly repeats: number
  /** Is told of each run that ended, or turned out not to be needed: of `runsOf` in all. */
  readonly onRun?: () => void
}

/** A trial as the report and JSON have it. */
export interface TrialRecord {
  readonly phase: Phase
  readonly values: readonly number[]
  /** Of the objective; NaN where the plugins refuse the values or nothing was completed. */
  readonly value: number
  readonly rejected: number
}

export interface TuningResult {
  readonly trials: readonly TrialRecord[]
  /** Places in `trials`; the profile as given is the first. */
  readonly best: number
  readonly bestProfile: Profile
  readonly seeds: readonly number[]
  readonly training: Compared
  readonly heldBack: Compared
  readonly verdict: Verdict
}

/** Most runs that it takes: trials, and both profiles on both parts. */
export const runsOf = ({ trials, repeats }: Pick<Tuning, 'trials' | 'repeats'>): number =>
  trials + 4 * repeats

export async function tune(tuning: Tuning): Promise<TuningResult> {
  const { scenario, objective, registry, knobs, repeats, split, onRun } = tuning
  const records: TrialRecord[] = []
  const found = await searchTraining(tuning, records)
  const best = found.trials.indexOf(found.best)
  for (let spared = found.trials.length; spared < tuning.trials; spared++) onRun?.()
  const { profile, seed } = scenario
  const isGiven = best <= 0
  const named = candidate(profile, registry, knobs, isGiven ? [] : found.best.values, tunedName(profile.name))
  const bestProfile = named ?? profile
  // Seeds go on from the search's own, and around: they have 32 bits.
  const seeds = Array.from({ length: repeats }, (_, at) => (seed + at + 1) >>> 0)
  const compared = (workload: Workload): Promise<Compared> =>
    compare(tuning, workload, isGiven ? null : bestProfile, seeds)
  const training = await compared(split.training)
  const heldBack = await compared(split.heldBack)
  const gain = isGiven
    ? 0
    : gainOf(objective, records[0]?.value ?? Number.NaN, records[best]?.value ?? Number.NaN)
  return {
    trials: records,
    best: Math.max(0, best),
    bestProfile,
    seeds,
    training,
    heldBack,
    verdict: judge(objective, gain, training, heldBack),
  }
}

/** So that it can stand beside the one it came from. */
const tunedName = (name: string): string => (name.endsWith('-tuned') ? name : `${name}-tuned`)

/** @param records gets one for each trial */
function searchTraining(tuning: Tuning, records: TrialRecord[]): Promise<SearchResult> {
  const { scenario, split, registry, knobs, objective, trials, onRun } = tuning
  let allowed = Number.POSITIVE_INFINITY
  // The same for all trials, and like the final runs: a moment that recorded times happen to meet is nothing to search on.
  const workload = jittered(split.training, scenario.seed)
  return search({
    dimensions: knobs,
    trials,
    seed: scenario.seed,
    evaluate: async (values, phase) => {
      const profile = candidate(scenario.profile, registry, knobs, phase === 'given' ? [] : values)
      if (profile === null) {
        records.push({ phase, values, value: Number.NaN, rejected: 0 })
        onRun?.()
        return Number.POSITIVE_INFINITY
      }
      const result = await simulate({ ...scenario, workload, profile })
      onRun?.()
      const rejected = rejectedOf(result)
      records.push({ phase, values, value: objectiveOf(objective, result), rejected })
      if (phase === 'given') allowed = rejected
      return lossOf(objective, result, allowed)
    },
  })
}

/** @param best null: nothing is better than the profile as given, and there is nothing to run twice */
async function compare(
  { scenario, objective, onRun }: Tuning,
  workload: Workload,
  best: Profile | null,
  seeds: readonly number[],
): Promise<Compared> {
  const over = async (profile: Profile): Promise<SimulationResult[]> => {
    const results: SimulationResult[] = []
    for (const seed of seeds) {
      // Many profiles draw nothing: other seeds alone would give the same figures, and look like certainty.
      results.push(await simulate({ ...scenario, workload: jittered(workload, seed), profile, seed }))
      onRun?.()
    }
    return results
  }
  const given = await over(scenario.profile)
  if (best === null) for (const _ of seeds) onRun?.()
  const other = best === null ? given : await over(best)
  const values = (results: readonly SimulationResult[]) =>
    results.map(result => objectiveOf(objective, result))
  const rejected = (results: readonly SimulationResult[]) =>
    results.reduce((sum, result) => sum + rejectedOf(result), 0)
  return {
    given: values(given),
    best: values(other),
    rejectedGiven: rejected(given),
    rejectedBest: rejected(other),
  }
}
