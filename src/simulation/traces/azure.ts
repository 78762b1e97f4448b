/**
 * The Azure LLM inference traces of 2023 and 2024 as CSV (https://github.com/Azure/AzurePublicDataset, CC-BY-4.0):
 * `TIMESTAMP` (2023-11-16 18:15:46.6805900), `ContextTokens`, `GeneratedTokens`. No content and no sessions: nothing is
 * shared, and every request comes at its time.
 */
import { SpanPrompt, UNKNOWN_ANSWERS } from '../virtual/span-prompt.js'
import type { VirtualRequest, Workload } from '../virtual/workload.js'
import { type CsvRow, csvRows, tokensIn } from './csv.js'
import { TraceError } from './lines.js'

const NEEDED = ['TIMESTAMP', 'ContextTokens', 'GeneratedTokens'] as const
/** Date, time, fraction; an offset behind it is the same in every row. */
const TIMESTAMP = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?/

/** @param limit most requests */
export function azureWorkload(name: string, content: Buffer, limit: number): Workload {
  const requests: VirtualRequest[] = []
  let firstMs: number | null = null
  for (const row of csvRows(name, content, NEEDED)) {
    if (requests.length === limit) break
    const promptTokens = tokensIn(row, 'ContextTokens')
    const outputTokens = tokensIn(row, 'GeneratedTokens')
    if (promptTokens === 0 || outputTokens === 0) continue
    const recordedMs = timeIn(row)
    firstMs ??= recordedMs
    const id = requests.length
    requests.push({
      atMs: Math.max(0, recordedMs - firstMs),
      after: null,
      thinkMs: 0,
      session: null,
      prompt: new SpanPrompt([{ id, tokens: promptTokens }], {
        id: UNKNOWN_ANSWERS + id,
        tokens: outputTokens,
      }),
      outputTokens,
    })
  }
  return { name, requests, modelDir: null }
}

function timeIn(row: CsvRow): number {
  const [, date, time, fraction = '0'] = TIMESTAMP.exec(row.field('TIMESTAMP')) ?? []
  const ms = Date.parse(`${date}T${time}Z`)
  if (Number.isNaN(ms)) {
    throw new TraceError(`${row.place}: 'TIMESTAMP' is no time: ${JSON.stringify(row.field('TIMESTAMP'))}`)
  }
  return ms + 1000 * Number(fraction)
}
