/** The run's tables for people: medians, and the least and the greatest of the rounds. */
import Table from 'cli-table3'
import type { Row } from '../lib/results.js'
import { type Cell, cellName, type TableName } from './cells.js'
import type { Goal } from './goals.js'
import { metric, number, type Results, type Subject, shortName, subject } from './results.js'

export interface TextTable {
  readonly title: string
  readonly note: string
  readonly head: readonly string[]
  readonly lines: readonly (readonly string[])[]
}

const spread = (row: Row | undefined): string =>
  row === undefined ? '–' : `${number(row.med)} (${number(row.min)}–${number(row.max)})`

const times = (value: number | undefined): string => (value === undefined ? '–' : `× ${number(value)}`)

/** One metric, a column a subject, and how many times dearer the best peer is. */
function comparison(
  results: Results,
  table: TableName,
  what: string,
  subjects: readonly Subject[],
  about: Pick<TextTable, 'title' | 'note'>,
): TextTable {
  const ratios = new Map(results.ratios(table, what).map(({ cell, ratio }) => [cell, ratio]))
  return {
    ...about,
    head: ['cell', ...subjects.map(name => shortName[name]), 'best peer / phyllo'],
    lines: results
      .cells(table)
      .map(cell => [
        cellName(cell),
        ...subjects.map(name => spread(results.row(table, cell, name, what))),
        times(ratios.get(cell)),
      ]),
  }
}

const { phyllo, apart, compressed, jump, binary, radix, ts } = subject

function twoThreads(results: Results): TextTable {
  const of = (cell: Cell, two: Subject, one: Subject): string => {
    const alone = results.row('queries', cell, one, metric.query)
    const both = results.row('queries', cell, two, metric.twoThreads)
    return alone === undefined || both === undefined ? '–' : times(both.med / alone.med)
  }
  return {
    title: 'Two threads',
    note: 'CPU a query of two threads over that of one. In the middle column each thread has an index of its own: what the machine makes of two threads, shared caches and neighbours included.',
    head: ['cell', 'phyllo', shortName[apart], shortName[compressed]],
    lines: results
      .cells('queries')
      .map(cell => [
        cellName(cell),
        of(cell, phyllo, phyllo),
        of(cell, apart, phyllo),
        of(cell, compressed, compressed),
      ]),
  }
}

/** A line for each cell, subject and condition; a column a metric. */
function conditions(
  results: Results,
  table: TableName,
  under: readonly string[],
  metrics: readonly string[],
  extra: readonly string[],
  about: Pick<TextTable, 'title' | 'note'>,
): TextTable {
  const line = (cell: Cell, name: Subject, condition: string) => [
    cellName(cell),
    shortName[name],
    condition,
    ...metrics.map(what => spread(results.row(table, cell, name, `${what}, ${condition}`))),
    ...extra.map(what => (condition === under.at(-1) ? spread(results.row(table, cell, name, what)) : '')),
  ]
  const subjects = [phyllo, compressed]
  return {
    ...about,
    head: ['cell', 'subject', 'while', ...metrics, ...extra],
    lines: results
      .cells(table)
      .flatMap(cell => subjects.flatMap(name => under.map(condition => line(cell, name, condition)))),
  }
}

/** A line for each cell and subject; a column a metric. */
function listing(
  results: Results,
  table: TableName,
  metrics: readonly string[],
  about: Pick<TextTable, 'title' | 'note'>,
): TextTable {
  const subjects = [phyllo, compressed, binary, radix]
  return {
    ...about,
    head: ['cell', 'subject', ...metrics],
    lines: results
      .cells(table)
      .flatMap(cell =>
        subjects.map(name => [
          cellName(cell),
          shortName[name],
          ...metrics.map(what => spread(results.row(table, cell, name, what))),
        ]),
      ),
  }
}

const memory = [
  'heap, filled',
  'heap, engine hashes',
  'resident, filled',
  'heap, filled and emptied',
  'resident, filled and emptied',
]

export function tables(results: Results): TextTable[] {
  const all: TextTable[] = [
    comparison(results, 'queries', metric.query, [phyllo, compressed, jump, binary, radix, ts], {
      title: 'Query',
      note: 'CPU ns a query, from hashes to ranked pods. phyllo and phyllo-ts are given cumulative hashes, the peers the blocks’ own; making them is in the table of tokens.',
    }),
    twoThreads(results),
    comparison(results, 'queries', metric.fromTokens, [phyllo, compressed, jump, binary], {
      title: 'Tokens to ranked pods',
      note: 'CPU ns a query, from the prompt’s tokens (16 a block): each side hashes what it must.',
    }),
    comparison(results, 'large', metric.query, [phyllo, compressed, binary], {
      title: 'Query, 16 million pairs',
      note: 'CPU ns a query, in indexes far beyond the cache.',
    }),
    conditions(
      results,
      'latency',
      ['idle', 'updates'],
      ['p50', 'p99', 'p99.9', 'longest', 'longest not preempted'],
      ['blocks applied'],
      {
        title: 'Latency under updates',
        note: 'Wall time of single queries in µs, while another thread applies 500,000 blocks of events a second (half stores, half removals, leaf first, 16 blocks an event; half of them along the queries’ own chains) and while none does; thousand blocks/s that were applied.',
      },
    ),
    conditions(
      results,
      'removal',
      ['control', 'pod removed'],
      ['longest', 'longest not preempted', 'over 20 µs not preempted'],
      ['removal takes'],
      {
        title: 'Removal of a pod',
        note: 'The longest query in µs while another thread removes a pod with 100,000 blocks; as control, while it computes for as long. “Not preempted”: of the queries in which the thread kept its core; they still meet timers and interrupts, as the control shows.',
      },
    ),
    listing(results, 'updates', [metric.store, metric.remove, metric.clear], {
      title: 'Updates',
      note: 'CPU ns a block, all threads of the process: events of 16 blocks, chains removed leaf first, 8 pods cleared. The peers’ include their map of engine hashes and the freeing of the event.',
    }),
    listing(results, 'memory', memory, {
      title: 'Memory',
      note: 'Bytes a (pod, block) pair: asked of the allocator, and resident. The peers’ include their map of engine hashes.',
    }),
    listing(results, 'churn', memory, {
      title: 'Memory, 4 million pairs',
      note: 'The same in larger indexes, in which what is kept whatever happens counts less.',
    }),
  ]
  return all.filter(({ lines }) => lines.length > 0)
}

export const goalTable = (goals: readonly Goal[]): TextTable => ({
  title: 'Goals',
  note: '“Best peer” is the one with the least median in that cell.',
  head: ['goal', '', 'measured'],
  lines: goals.map(({ goal, result, verdict }) => [goal, verdict, result]),
})

export function toMarkdown({ title, note, head, lines }: TextTable): string {
  const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [`## ${title}`, '', note, '', row(head), row(head.map(() => '---')), ...lines.map(row), ''].join(
    '\n',
  )
}

export function print({ title, note, head, lines }: TextTable): void {
  const table = new Table({ head: [...head], style: { head: [], border: [], compact: true } })
  for (const line of lines) table.push([...line])
  console.log(`\n${title}: ${note}\n${table.toString()}`)
}
