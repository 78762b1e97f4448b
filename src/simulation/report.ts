/** The demo's table. */
import Table from 'cli-table3'
import type { TurnResult } from './replay.js'

export interface ProfileRun {
  readonly profile: string
  readonly results: readonly TurnResult[]
}

/** The numbers of one run. Times are milliseconds of the modelled engines. */
export interface Summary {
  readonly profile: string
  readonly requests: number
  readonly failed: number
  /** What the first failed request said. */
  readonly firstError: string | null
  /** Cached prompt tokens over all prompt tokens. */
  readonly hitRate: number
  readonly ttftP50: number
  readonly ttftP90: number
  readonly ttftP99: number
  /** Requests by pod, in the order of `pods`. */
  readonly perPod: readonly number[]
}

/** The value that a fraction `q` of the samples does not exceed (nearest rank); NaN without samples. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? Number.NaN
}

/** @param speed how many times faster than the modelled hardware the engines ran: wall-clock times are scaled back */
export function summarise(run: ProfileRun, pods: readonly string[], speed: number): Summary {
  const good = run.results.filter(result => result.error === null)
  const cached = good.reduce((total, result) => total + result.cachedTokens, 0)
  const prompt = good.reduce((total, result) => total + result.promptTokens, 0)
  const ttft = good.map(result => result.ttftMs * speed)
  return {
    profile: run.profile,
    requests: run.results.length,
    failed: run.results.length - good.length,
    firstError: run.results.find(result => result.error !== null)?.error ?? null,
    hitRate: cached / Math.max(1, prompt),
    ttftP50: quantile(ttft, 0.5),
    ttftP90: quantile(ttft, 0.9),
    ttftP99: quantile(ttft, 0.99),
    perPod: pods.map(pod => good.filter(result => result.pod === pod).length),
  }
}

export function renderTable(summaries: readonly Summary[], pods: readonly string[]): string {
  const hasFailures = summaries.some(({ failed }) => failed > 0)
  const head = ['profile', 'cache-hit rate', 'TTFT p50', 'TTFT p99', `requests on ${pods.join(' / ')}`]
  const table = new Table({
    head: hasFailures ? [...head, 'failed'] : head,
    colAligns: ['left', 'right', 'right', 'right', 'right', 'right'],
    // Colours are for terminals that ask for them; a table in a log should be plain.
    style: { head: [], border: [] },
  })
  for (const one of summaries) {
    const row = [one.profile, percent(one.hitRate), ms(one.ttftP50), ms(one.ttftP99), one.perPod.join(' / ')]
    table.push(hasFailures ? [...row, String(one.failed)] : row)
  }
  return table.toString()
}

export const percent = (part: number): string => `${(part * 100).toFixed(1)} %`
export const ms = (value: number): string =>
  Number.isNaN(value) ? '–' : `${Math.round(value).toLocaleString('en')} ms`
