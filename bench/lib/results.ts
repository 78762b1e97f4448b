/** The one form of all bench results: a table for people, and JSON for machines in bench/results/NAME.json. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import Table from 'cli-table3'

export interface Row {
  /** What was asked of the subject. */
  readonly case: string
  /** `phyllo`, `phyllo-ts` (the pure-TypeScript index), or a peer with its version. */
  readonly subject: string
  readonly metric: string
  readonly unit: string
  readonly min: number
  readonly med: number
  readonly max: number
  /** Interleaved runs that min, med and max are taken over. */
  readonly n: number
}

/** bench/ of the checkout, from where this file is built to. */
export const benchDir = fileURLToPath(new URL('../../../bench/', import.meta.url))
export const rootDir = fileURLToPath(new URL('../../../', import.meta.url))

export function summarise(samples: readonly number[]): Pick<Row, 'min' | 'med' | 'max' | 'n'> {
  const sorted = [...samples].sort((a, b) => a - b)
  const at = (i: number) => Number((sorted[i] ?? Number.NaN).toPrecision(4))
  return { min: at(0), med: at(Math.floor(sorted.length / 2)), max: at(sorted.length - 1), n: sorted.length }
}

function machine(): string {
  const all = cpus()
  return `${all[0]?.model.trim() ?? 'unknown CPU'}, ${all.length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB`
}

function commit(): string {
  try {
    return execFileSync('git', ['describe', '--always', '--dirty'], { cwd: rootDir }).toString().trim()
  } catch {
    return 'unknown'
  }
}

/** Writes the JSON and answers the table as Markdown. */
export function writeResults(name: string, commands: readonly string[], rows: readonly Row[]): string {
  const about = {
    machine: machine(),
    date: new Date().toISOString(),
    node: process.version,
    commit: commit(),
  }
  mkdirSync(`${benchDir}results`, { recursive: true })
  writeFileSync(
    `${benchDir}results/${name}.json`,
    `${JSON.stringify({ ...about, commands, rows }, null, 2)}\n`,
  )
  const head = `${about.machine}; Node ${about.node}; ${about.date.slice(0, 10)}; \`${commands.join('`, `')}\``
  const lines = rows.map(
    r => `| ${r.case} | ${r.subject} | ${r.metric} (${r.unit}) | ${r.min} | ${r.med} | ${r.max} | ${r.n} |`,
  )
  return [
    head,
    '',
    '| case | subject | metric | min | median | max | runs |',
    '|---|---|---|---|---|---|---|',
    ...lines,
  ].join('\n')
}

export function printTable(rows: readonly Row[]): void {
  const table = new Table({ head: ['case', 'subject', 'metric', 'min', 'median', 'max', 'runs'] })
  for (const r of rows) table.push([r.case, r.subject, `${r.metric} (${r.unit})`, r.min, r.med, r.max, r.n])
  console.log(table.toString())
}

/** Puts a table into bench/README.md between `<!-- NAME -->` and `<!-- /NAME -->`. */
export function updateReadme(name: string, markdown: string): void {
  const file = `${benchDir}README.md`
  const text = readFileSync(file, 'utf8')
  const open = `<!-- ${name} -->`
  const close = `<!-- /${name} -->`
  const from = text.indexOf(open)
  const to = text.indexOf(close)
  if (from < 0 || to < from)
    throw new Error(`bench/README.md has no place for ${name}: add ${open} and ${close}`)
  writeFileSync(file, `${text.slice(0, from + open.length)}\n${markdown}\n${text.slice(to)}`)
}
