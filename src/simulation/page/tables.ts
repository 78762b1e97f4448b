/** The page's table of figures: a row for each profile, the best of each column in bold. */
import type { SimulationResult } from '../virtual/result.js'
import { duration, escaped, percent, short } from './format.js'

interface Column {
  readonly title: string
  readonly value: (result: SimulationResult) => number
  readonly text: (value: number) => string
  /** Which end of the column is good; null where neither is. */
  readonly best: 'least' | 'most' | null
}

const rejectedOf = ({ rejected }: SimulationResult): number =>
  rejected.overloaded + rejected.noPod + rejected.tooLong

const columns: readonly Column[] = [
  { title: 'goodput', value: r => r.goodput.requestsPerSecond, text: v => `${short(v)}/s`, best: 'most' },
  { title: 'in SLO', value: r => r.goodput.fraction, text: percent, best: 'most' },
  { title: 'TTFT mean', value: r => r.ttftMs.mean, text: duration, best: 'least' },
  { title: 'p50', value: r => r.ttftMs.p50, text: duration, best: 'least' },
  { title: 'p90', value: r => r.ttftMs.p90, text: duration, best: 'least' },
  { title: 'p99', value: r => r.ttftMs.p99, text: duration, best: 'least' },
  { title: 'TPOT p50', value: r => r.tpotMs.p50, text: duration, best: 'least' },
  { title: 'p99', value: r => r.tpotMs.p99, text: duration, best: 'least' },
  { title: 'E2E p50', value: r => r.e2eMs.p50, text: duration, best: 'least' },
  { title: 'p99', value: r => r.e2eMs.p99, text: duration, best: 'least' },
  { title: 'hit rate', value: r => r.hitRate, text: percent, best: 'most' },
  { title: 'load max/mean', value: r => r.imbalance.inflight, text: short, best: null },
  { title: 'rejected', value: rejectedOf, text: short, best: 'least' },
  { title: 'preempted', value: r => r.preemptions, text: short, best: null },
]

export function resultTable(results: readonly SimulationResult[]): string {
  const head = ['profile', ...columns.map(({ title }) => title)].map(title => `<th>${title}</th>`).join('')
  const rows = results.map(result => {
    const cells = columns.map(column => {
      const value = column.value(result)
      return `<td${isBest(column, value, results) ? ' class="best"' : ''}>${escaped(column.text(value))}</td>`
    })
    return `<tr><td>${escaped(result.profile)}</td>${cells.join('')}</tr>`
  })
  return `<table><thead><tr>${head}</tr></thead><tbody>${rows.join('')}</tbody></table>`
}

/** Nothing is best where all are alike. */
function isBest({ value, best }: Column, own: number, results: readonly SimulationResult[]): boolean {
  const all = results.map(value).filter(Number.isFinite)
  if (best === null || new Set(all).size < 2) return false
  return own === (best === 'least' ? Math.min(...all) : Math.max(...all))
}
