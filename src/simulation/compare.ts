/** Runs scenarios one after the other, with progress, and writes what came out: table, JSON, page. */
import type { SimulationOptions } from './options/schema.js'
import { checkFolder, save } from './output-file.js'
import { type Comparison, renderPage } from './page/page.js'
import { startProgress } from './progress.js'
import type { SimulationResult } from './virtual/result.js'
import type { Scenario } from './virtual/scenario.js'
import { simulate } from './virtual/simulate.js'
import { renderResults } from './virtual/table.js'

export interface CompareOptions {
  /** As they were given, for the record. */
  readonly options: SimulationOptions
  readonly scenarios: readonly Scenario[]
  /** File for the figures; `-` is standard output. */
  readonly json?: string | undefined
  /** File for the page. */
  readonly html?: string | undefined
  /** Resolves when the text is where it should be. */
  readonly write?: (text: string) => void | Promise<void>
  /** Progress and notes. */
  readonly note?: (text: string) => void
}

export async function compareProfiles(compare: CompareOptions): Promise<SimulationResult[]> {
  const { options, scenarios, json, html } = compare
  const write = compare.write ?? (text => void process.stdout.write(text))
  const note = compare.note ?? (text => void process.stderr.write(text))
  const isTerminal = compare.note === undefined && process.stderr.isTTY === true
  if (json !== undefined && json !== '-') checkFolder('--json', json)
  if (html !== undefined) checkFolder('--html', html)
  const width = Math.max(...scenarios.map(({ profile }) => profile.name.length))
  const results: SimulationResult[] = []
  for (const scenario of scenarios) {
    const title = scenario.profile.name.padEnd(width)
    const progress = startProgress(title, scenario.workload.requests.length, isTerminal, note, process.stderr)
    results.push(await simulate(scenario, () => progress.step()).finally(() => progress.done()))
  }
  const comparison: Comparison = { options, workload: scenarios[0]?.workload.name ?? '', results }
  if (json === '-') await write(`${JSON.stringify(comparison, null, 1)}\n`)
  else await write(`${renderResults(results)}\n`)
  if (json !== undefined && json !== '-') save('--json', json, `${JSON.stringify(comparison, null, 1)}\n`)
  if (html !== undefined) save('--html', html, renderPage(comparison))
  return results
}
