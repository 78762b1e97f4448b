/** Comma-separated numbers with a header: the form of public traces that hold times and lengths. No field is quoted. */
import { linesOf, TraceError } from './lines.js'

export interface CsvRow {
  /** `file:line`, for complaints. */
  readonly place: string
  /** The field of a column; empty where the row is short. */
  field(column: string): string
}

/** The rows behind the header. Throws a TraceError if a column is missing. */
export function* csvRows(name: string, content: Buffer, columns: readonly string[]): Generator<CsvRow> {
  let places: ReadonlyMap<string, number> | null = null
  for (const { number, text } of linesOf(content)) {
    const fields = text.split(',').map(field => field.trim())
    if (places === null) {
      places = new Map(fields.map((field, at) => [field.replace(/^\uFEFF/, ''), at]))
      const missing = columns.find(column => !places?.has(column))
      if (missing === undefined) continue
      throw new TraceError(
        `${name}:${number}: there is no column '${missing}'; the header needs ${columns.join(', ')}`,
      )
    }
    const known = places
    yield { place: `${name}:${number}`, field: column => fields[known.get(column) ?? -1] ?? '' }
  }
}

/** A number of tokens. Throws a TraceError for anything else. */
export function tokensIn(row: CsvRow, column: string): number {
  const value = Number(row.field(column))
  if (row.field(column) !== '' && Number.isInteger(value) && value >= 0) return value
  throw new TraceError(
    `${row.place}: '${column}' is no number of tokens: ${JSON.stringify(row.field(column))}`,
  )
}
