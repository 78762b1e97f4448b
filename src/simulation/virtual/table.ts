/** Results for people: a row for each profile. */
import Table from 'cli-table3'
import type { Distribution } from './quantiles.js'
import type { SimulationResult } from './result.js'

const HEAD = [
  'profile',
  'goodput',
  'in SLO',
  'TTFT mean / p50 / p90 / p99',
  'TPOT p50 / p99',
  'E2E p50 / p99',
  'hit rate',
  'load max/mean',
  'rejected',
  'preempted',
] as const

export function renderResults(results: readonly SimulationResult[]): string {
  const table = new Table({
    head: [...HEAD],
    colAligns: ['left', ...HEAD.slice(1).map((): 'right' => 'right')],
    // Colours are for terminals that ask for them; a table in a log should be plain.
    style: { head: [], border: [] },
  })
  for (const one of results) table.push(rowOf(one))
  return table.toString()
}

function rowOf(one: SimulationResult): string[] {
  const { overloaded, noPod, tooLong } = one.rejected
  return [
    one.profile,
    `${figure(one.goodput.requestsPerSecond)}/s`,
    share(one.goodput.fraction),
    times(one.ttftMs, ['mean', 'p50', 'p90', 'p99']),
    times(one.tpotMs, ['p50', 'p99']),
    times(one.e2eMs, ['p50', 'p99']),
    share(one.hitRate),
    figure(one.imbalance.inflight),
    String(overloaded + noPod + tooLong),
    String(one.preemptions),
  ]
}

const times = (distribution: Distribution, which: readonly (keyof Distribution)[]): string =>
  `${which.map(key => milliseconds(distribution[key])).join(' / ')} ms`

const milliseconds = (value: number): string =>
  Number.isFinite(value) ? (value < 100 ? value.toPrecision(3) : Math.round(value).toLocaleString('en')) : '–'
const share = (part: number): string => (Number.isFinite(part) ? `${(100 * part).toFixed(1)} %` : '–')
const figure = (value: number): string => (Number.isFinite(value) ? value.toPrecision(3) : '–')
