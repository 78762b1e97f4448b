/**
 * When does it pay to compute prompts on other pods than those that answer? Eight simulated H100 in virtual time, prompts
 * of 10k to 100k tokens with answers of 1k: all pods alike, four for prompts and four for answers, and what chooses.
 */
import { printTable, type Row, summarise, updateReadme, writeResults } from '../lib/results.js'
import { against, againstRows, betterOf, figuresOf, isWithin } from './better.js'
import { type Cell, type Measured, measure, rateOf } from './cell.js'
import { ADAPTIVE, EXTREMES, subjects } from './subjects.js'

const INPUTS = [10_000, 30_000, 60_000, 100_000]
const LOADS = [0.3, 0.6, 0.9]
/** Seconds of requests in a cell, and their least number: the 99th percentile is of the last two thirds of them. */
const SECONDS = 100
const LEAST = 150
const SEEDS = [1, 2, 3]

export async function benchDisaggregation({ quick }: { readonly quick: boolean }): Promise<void> {
  const rows: Row[] = []
  let within = 0
  let cells = 0
  for (const input of quick ? [10_000] : INPUTS) {
    for (const load of quick ? [0.6] : LOADS) {
      const cell = { input, load }
      const found = new Map<string, readonly Measured[]>()
      for (const subject of subjects) {
        const requests = Math.max(LEAST, Math.ceil(rateOf(cell) * SECONDS))
        const runs: Measured[] = []
        for (const seed of quick ? [1] : SEEDS)
          runs.push(await measure(subject, cell, seed, quick ? 60 : requests))
        found.set(subject.name, runs)
      }
      const added = rowsOf(cell, found)
      const [mixed, apart] = EXTREMES.map(name => figuresOf(found.get(name) ?? []))
      if (mixed === undefined || apart === undefined) throw new Error('unreachable: there are two extremes')
      const better = betterOf(mixed, apart)
      for (const subject of ADAPTIVE) {
        added.push(
          ...againstRows(nameOf(cell), subject, against(figuresOf(found.get(subject) ?? []), better)),
        )
      }
      cells++
      if (isWithin(against(figuresOf(found.get(ADAPTIVE[0]) ?? []), better))) within++
      printTable(added)
      rows.push(...added)
    }
  }
  console.log(`${ADAPTIVE[0]}: within 5 % of the better fleet in ${within} of ${cells} cells`)
  if (!quick) {
    updateReadme('disaggregation', writeResults('disaggregation', ['npm run bench:disaggregation'], rows))
  }
}

const nameOf = (cell: Cell): string => `${cell.input / 1000}k in, ${rateOf(cell)}/s (load ${cell.load})`

function rowsOf(cell: Cell, found: ReadonlyMap<string, readonly Measured[]>): Row[] {
  const name = nameOf(cell)
  const row = (subject: string, metric: string, unit: string, values: readonly number[]): Row => ({
    case: name,
    subject,
    metric,
    unit,
    ...summarise(values),
  })
  return [...found].flatMap(([subject, runs]) => [
    row(
      subject,
      'goodput',
      'requests/s',
      runs.map(({ goodput }) => goodput),
    ),
    row(
      subject,
      'TPOT p99',
      'ms',
      runs.map(({ tpotP99 }) => tpotP99),
    ),
    row(
      subject,
      'TTFT mean',
      'ms',
      runs.map(({ ttftMean }) => ttftMean),
    ),
    row(
      subject,
      'TTFT p99',
      'ms',
      runs.map(({ ttftP99 }) => ttftP99),
    ),
    row(
      subject,
      'split',
      '%',
      runs.map(({ split }) => 100 * split),
    ),
  ])
}
