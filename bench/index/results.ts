/** What was measured, to be asked by table, cell, subject and metric. */
import { type Row, summarise } from '../lib/results.js'
import { type Cell, caseName, type TableName } from './cells.js'
import type { Sample } from './program.js'

/** Names that the Rust program gives its subjects. */
export const subject = {
  phyllo: 'phyllo',
  apart: 'phyllo, an index a thread',
  compressed: 'dynamo 1.6.1 compressed radix tree',
  jump: 'dynamo 1.6.1 positional, jump',
  binary: 'dynamo 1.6.1 positional, binary',
  radix: 'dynamo 1.6.1 radix tree, one thread',
  ts: 'phyllo-ts',
} as const

export type Subject = (typeof subject)[keyof typeof subject]

export const peers: readonly Subject[] = [subject.compressed, subject.jump, subject.binary, subject.radix]

/** As columns and legends call them. */
export const shortName: Readonly<Record<Subject, string>> = {
  [subject.phyllo]: 'phyllo',
  [subject.apart]: 'phyllo, an index a thread',
  [subject.compressed]: 'compressed radix tree',
  [subject.jump]: 'positional, jump',
  [subject.binary]: 'positional, binary',
  [subject.radix]: 'radix tree (one thread)',
  [subject.ts]: 'phyllo-ts',
}

export const metric = {
  query: 'query CPU',
  twoThreads: 'query CPU, two threads',
  fromTokens: 'tokens to ranked pods CPU',
  store: 'store CPU',
  remove: 'remove CPU',
  clear: 'clear CPU',
} as const

/** Samples of a run, round by round. */
export class Samples {
  readonly #values = new Map<string, { about: Omit<Sample, 'value'> & { case: string }; values: number[] }>()

  add(table: TableName, cell: Cell, samples: readonly Sample[]): void {
    for (const { value, ...about } of samples) {
      const key = `${caseName(table, cell)}|${about.subject}|${about.metric}`
      const entry = this.#values.get(key) ?? { about: { case: caseName(table, cell), ...about }, values: [] }
      entry.values.push(value)
      this.#values.set(key, entry)
    }
  }

  rows(): Row[] {
    return Array.from(this.#values.values(), ({ about, values }) => ({ ...about, ...summarise(values) }))
  }
}

/** A cell with how many times dearer the best peer is than phyllo. */
export interface Ratio {
  readonly cell: Cell
  readonly ratio: number
}

export class Results {
  readonly #rows: ReadonlyMap<string, Row>
  readonly #cells: ReadonlyMap<TableName, readonly Cell[]>

  constructor(
    readonly rows: readonly Row[],
    cells: ReadonlyMap<TableName, readonly Cell[]>,
  ) {
    this.#rows = new Map(rows.map(row => [`${row.case}|${row.subject}|${row.metric}`, row]))
    this.#cells = cells
  }

  /** The table's cells; none if it was not measured. */
  cells(table: TableName): readonly Cell[] {
    return this.#cells.get(table) ?? []
  }

  row(table: TableName, cell: Cell, of: Subject, what: string): Row | undefined {
    return this.#rows.get(`${caseName(table, cell)}|${of}|${what}`)
  }

  /** The peer with the least median. */
  bestPeer(table: TableName, cell: Cell, what: string): Row | undefined {
    const rows = peers.flatMap(peer => this.row(table, cell, peer, what) ?? [])
    return rows.sort((a, b) => a.med - b.med)[0]
  }

  /** Medians: best peer / phyllo, of each cell. */
  ratios(table: TableName, what: string): Ratio[] {
    return this.cells(table).flatMap(cell => {
      const ours = this.row(table, cell, subject.phyllo, what)
      const best = this.bestPeer(table, cell, what)
      return ours === undefined || best === undefined ? [] : [{ cell, ratio: best.med / ours.med }]
    })
  }
}

export const least = (ratios: readonly Ratio[]): Ratio | undefined =>
  ratios.reduce<Ratio | undefined>((a, b) => (a === undefined || b.ratio < a.ratio ? b : a), undefined)

export const greatest = (ratios: readonly Ratio[]): Ratio | undefined =>
  ratios.reduce<Ratio | undefined>((a, b) => (a === undefined || b.ratio > a.ratio ? b : a), undefined)

export const geometricMean = (ratios: readonly Ratio[]): number =>
  Math.exp(ratios.reduce((sum, { ratio }) => sum + Math.log(ratio), 0) / ratios.length)

/** Three digits that count, and a comma in thousands. */
export function number(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en-US')
  return String(Number(value.toPrecision(3)))
}
