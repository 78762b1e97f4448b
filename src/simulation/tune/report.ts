/** The result of a parameter search for people. */
import Table from 'cli-table3'
import { gainText, valueText } from './objective.js'
import type { Tuning, TuningResult } from './tune.js'
import { type Spread, spreadOf } from './verdict.js'

/** Tables, what they mean, and warnings. */
export function renderTuning(tuning: Tuning, result: TuningResult, leftOut: readonly string[]): string {
  const { verdict, trials } = result
  const phases = (['sampled', 'refined', 'simplified'] as const).map(
    phase => `${trials.filter(trial => trial.phase === phase).length} ${phase}`,
  )
  const lines = [
    `${tuning.scenario.profile.name}: ${tuning.objective} over ${trials.length} trials (the profile as given, ${phases.join(', ')})`,
    partsTable(tuning, result),
    valuesTable(tuning, result),
    ...(leftOut.length === 0 ? [] : [`Not varied (--vary names a range): ${leftOut.join(', ')}`]),
    ...verdict.warnings.map(warning => `Warning: ${warning}.`),
    verdict.conclusion,
  ]
  return lines.join('\n')
}

function partsTable({ scenario, objective, split }: Tuning, result: TuningResult): string {
  const { trials, best, seeds, training, heldBack, verdict } = result
  const table = plainTable(['part', 'seeds', 'requests', 'as given', 'best', 'gain'])
  const one = (at: number): string => valueText(objective, trials[at]?.value ?? Number.NaN)
  const size = (part: 'training' | 'heldBack'): string => split[part].requests.length.toLocaleString('en')
  table.push([
    'training, as searched',
    String(scenario.seed),
    size('training'),
    one(0),
    one(best),
    gainText(objective, verdict.found),
  ])
  const over = `${seeds[0]}–${seeds.at(-1)}`
  const several = (values: readonly number[]): string => spreadText(tuningValue(objective), spreadOf(values))
  const gain = (spread: Spread): string => spreadText(value => gainText(objective, value), spread)
  table.push([
    'training',
    over,
    size('training'),
    several(training.given),
    several(training.best),
    gain(verdict.training),
  ])
  table.push([
    'held back',
    over,
    size('heldBack'),
    several(heldBack.given),
    several(heldBack.best),
    gain(verdict.heldBack),
  ])
  return table.toString()
}

function valuesTable({ knobs }: Tuning, { trials, best }: TuningResult): string {
  const table = plainTable(['option', 'range', 'as given', 'best'])
  for (const [at, { label, low, high, choices, given }] of knobs.entries()) {
    const found = best === 0 ? given : (trials[best]?.values[at] ?? given)
    const range = choices === null ? `${digits(low)} – ${digits(high)}` : choices.join(', ')
    table.push([label, range, digits(given), found === given ? '=' : digits(found)])
  }
  return table.toString()
}

const tuningValue =
  (objective: Tuning['objective']) =>
  (value: number): string =>
    valueText(objective, value)

const spreadText = (text: (value: number) => string, { mean, deviation }: Spread): string =>
  `${text(mean)} ± ${text(deviation).replace('+', '')}`

const digits = (value: number): string => (Number.isNaN(value) ? 'off' : String(Number(value.toPrecision(3))))

const plainTable = (head: string[]) =>
  new Table({
    head,
    colAligns: ['left', ...head.slice(1).map((): 'right' => 'right')],
    // Colours are for terminals that ask for them; a table in a log should be plain.
    style: { head: [], border: [] },
  })
