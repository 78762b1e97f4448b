/**
 * `npm run bench:index`: the prefix index beside its peers. Builds the Rust program beside this file and asks it for
 * round after round, in turn with the pure-TypeScript index; writes bench/INDEX.md, a plot, and the results.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { benchDir, rootDir, updateReadme, writeResults } from '../lib/results.js'
import { type Cell, caseName, fullPlans, type Plan, quickPlans, type TableName } from './cells.js'
import { goals } from './goals.js'
import { plot } from './plot.js'
import { buildProgram, CellProgram } from './program.js'
import { report } from './report.js'
import { Results, Samples } from './results.js'
import { goalTable, print, tables, toMarkdown } from './tables.js'
import { TsSubject } from './ts-cells.js'

export interface IndexBenchOptions {
  /** Little of everything, and no results are written. */
  readonly quick: boolean
  /** Tables to measure; if not all, no results are written. */
  readonly only: readonly string[]
}

const COMMAND = 'npm run bench:index'

/** One cell: everything is built first, then all subjects take turns, round by round. */
async function measure(plan: Plan, cell: Cell, samples: Samples): Promise<void> {
  const program = new CellProgram(plan, cell)
  const pairs = await program.ready()
  const ts = plan.table === 'queries' ? new TsSubject(cell, plan.ms) : undefined
  for (let round = 0; round < plan.rounds; round++) {
    samples.add(plan.table, cell, await program.round())
    if (ts !== undefined) samples.add(plan.table, cell, await ts.round())
  }
  await program.end()
  console.log(`${caseName(plan.table, cell)}: ${pairs.toLocaleString('en-US')} pairs, ${plan.rounds} rounds`)
}

async function run(plans: readonly Plan[]): Promise<Results> {
  const samples = new Samples()
  const cells = new Map<TableName, readonly Cell[]>()
  for (const plan of plans) {
    for (const cell of plan.cells) await measure(plan, cell, samples)
    cells.set(plan.table, plan.cells)
  }
  return new Results(samples.rows(), cells)
}

/** What a run that counts leaves behind; any other is only drawn, to see that it can be. */
function write(results: Results, counts: boolean): void {
  const judged = goals(results)
  const dir = counts ? benchDir : join(rootDir, '.cache', 'bench')
  mkdirSync(join(dir, 'results'), { recursive: true })
  const head = counts ? (writeResults('index', [COMMAND], results.rows).split('\n')[0] ?? '') : 'A trial run.'
  if (results.cells('queries').length > 0) writeFileSync(join(dir, 'results', 'index.svg'), plot(results))
  writeFileSync(join(dir, 'INDEX.md'), report(head, 'results/index.svg', results, judged))
  if (counts)
    updateReadme('index', `${head}\n\n${toMarkdown(goalTable(judged)).split('\n').slice(4).join('\n')}`)
  else console.log(`\nNot written to bench/, but to ${dir}.`)
}

export async function benchIndex({ quick, only }: IndexBenchOptions): Promise<void> {
  const plans = quick ? quickPlans : fullPlans
  const wanted = plans.filter(({ table }) => only.length === 0 || only.includes(table))
  if (wanted.length === 0) throw new Error(`no such table; there are ${plans.map(p => p.table).join(', ')}`)
  buildProgram()
  const results = await run(wanted)
  for (const table of [...tables(results), goalTable(goals(results))]) print(table)
  write(results, !quick && wanted.length === plans.length)
}
