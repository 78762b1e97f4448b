/** `phyllo tune` without its flags: what options ask for is searched, reported and written. */
import { profileToConfig } from '../../decision/from-config.js'
import { knownPlugins } from '../../server/profiles.js'
import { OptionsError } from '../options/failure.js'
import { routerOptionsOf } from '../options/profiles.js'
import { scenariosOf } from '../options/scenarios.js'
import { checkFolder, save } from '../output-file.js'
import { startProgress } from '../progress.js'
import type { Workload } from '../virtual/workload.js'
import { gainText } from './objective.js'
import { configYaml } from './output.js'
import { renderTuning } from './report.js'
import type { TuneOptions } from './schema.js'
import { type Split, splitByTime } from './split.js'
import { runsOf, type Tuning, type TuningResult, tune } from './tune.js'
import { type Space, spaceOf } from './vary.js'

export interface TuneRun {
  readonly options: TuneOptions
  /** File for the figures; `-` is standard output. */
  readonly json?: string | undefined
  /** File for the best profile. */
  readonly out?: string | undefined
  /** Resolves when the text is where it should be. */
  readonly write?: (text: string) => void | Promise<void>
  /** Progress and notes. */
  readonly note?: (text: string) => void
}

/** Throws an OptionsError or a TraceError with what is wrong, before anything is run. */
export async function runTuning(run: TuneRun): Promise<TuningResult> {
  const { options, json, out } = run
  const write = run.write ?? (text => void process.stdout.write(text))
  const note = run.note ?? (text => void process.stderr.write(text))
  const [scenario, ...others] = scenariosOf(options)
  if (scenario === undefined || others.length > 0) {
    throw new OptionsError(
      `--profile  ${options.profile} holds ${others.length + 1} profiles, and one is tuned at a time — put it into a file of its own`,
    )
  }
  const { plugins, workflows } = routerOptionsOf(options)
  const registry = knownPlugins(workflows)
  const space = spaceOf(scenario.profile, registry, options.vary)
  const split = splitOf(scenario.workload, options.holdBack)
  if (json !== undefined && json !== '-') checkFolder('--json', json)
  if (out !== undefined) checkFolder('--out', out)

  const isTerminal = run.note === undefined && process.stderr.isTTY === true
  const { objective, trials, repeats } = options
  const total = runsOf(options)
  const progress = startProgress(scenario.profile.name, total, isTerminal, note, process.stderr, 'runs')
  const tuning: Tuning = {
    scenario,
    split,
    registry,
    knobs: space.knobs,
    objective,
    trials,
    repeats,
    onRun: () => progress.step(),
  }
  const result = await tune(tuning).finally(() => progress.done())
  if (json === '-') await write(figures(run, tuning, space, result))
  else await write(`${renderTuning(tuning, result, space.leftOut)}\n`)
  if (json !== undefined && json !== '-') save('--json', json, figures(run, tuning, space, result))
  if (out !== undefined) {
    const text = configYaml(result.bestProfile, comment(tuning, result), { plugins, workflows, file: out })
    save('--out', out, text)
  }
  return result
}

function splitOf(workload: Workload, part: number): Split {
  try {
    return splitByTime(workload, part)
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new OptionsError(`--hold-back  ${error.message} — take a longer trace, or another part`)
  }
}

/** All there is, for machines. Times are in milliseconds, goodput and gains are parts of 1; null is what has no number. */
function figures({ options }: TuneRun, { split, knobs }: Tuning, space: Space, result: TuningResult): string {
  const { bestProfile, ...rest } = result
  const sizes = { training: split.training.requests.length, heldBack: split.heldBack.requests.length }
  const varied = knobs.map(({ label, given, low, high, choices }) => ({ label, given, low, high, choices }))
  const profile = { name: bestProfile.name, ...profileToConfig(bestProfile) }
  const all = { options, requests: sizes, varied, leftOut: space.leftOut, ...rest, profile }
  return `${JSON.stringify(all, null, 1)}\n`
}

function comment({ scenario, objective, split }: Tuning, { best, verdict, trials }: TuningResult): string[] {
  const { workload, profile } = scenario
  if (best === 0) {
    return [
      `${profile.name} as it was: none of ${trials.length} trials on ${workload.name} was better by ${objective}.`,
    ]
  }
  const gain = (part: 'training' | 'heldBack'): string => gainText(objective, verdict[part].mean)
  return [
    `${profile.name} tuned for ${objective} on ${workload.name}: ${trials.length} trials,`,
    `${gain('training')} on ${split.training.requests.length} requests it was searched on, ${gain('heldBack')} on ${split.heldBack.requests.length} held back.`,
    ...verdict.warnings.map(warning => `Warning: ${warning}.`),
  ]
}
