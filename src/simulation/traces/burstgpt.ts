/**
 * BurstGPT's CSV (https://github.com/HPMLL/BurstGPT, CC-BY-4.0): `Timestamp` (s), `Request tokens`, `Response tokens`,
 * and from release 2 on `Session ID` and `Elapsed time` (s, from the request to its whole answer).
 *
 * It holds no content, so nothing is shared between prompts: caches find nothing in it. Requests of a session follow
 * each other: a turn comes as long after the answer before as it did when it was recorded. Failed requests (no response
 * tokens) are left out.
 */
import { SpanPrompt, UNKNOWN_ANSWERS } from '../virtual/span-prompt.js'
import type { VirtualRequest, Workload } from '../virtual/workload.js'
import { type CsvRow, csvRows, tokensIn } from './csv.js'
import { TraceError } from './lines.js'

const NEEDED = ['Timestamp', 'Request tokens', 'Response tokens'] as const

/** A session's last request. */
interface Turn {
  readonly number: number
  /** When its answer was complete, as recorded, ms. */
  readonly endedAt: number
}

/** @param limit most requests */
export function burstGptWorkload(name: string, content: Buffer, limit: number): Workload {
  const requests: VirtualRequest[] = []
  const sessions = new Map<string, Turn>()
  let firstMs: number | null = null
  for (const row of csvRows(name, content, NEEDED)) {
    if (requests.length === limit) break
    const promptTokens = tokensIn(row, 'Request tokens')
    const outputTokens = tokensIn(row, 'Response tokens')
    if (promptTokens === 0 || outputTokens === 0) continue
    const recordedMs = 1000 * secondsIn(row, 'Timestamp')
    firstMs ??= recordedMs
    const session = row.field('Session ID') || null
    const before = session === null ? undefined : sessions.get(session)
    const number = requests.length
    requests.push({
      atMs: before === undefined ? Math.max(0, recordedMs - firstMs) : 0,
      after: before?.number ?? null,
      thinkMs: before === undefined ? 0 : Math.max(0, recordedMs - before.endedAt),
      session,
      prompt: new SpanPrompt([{ id: number, tokens: promptTokens }], {
        id: UNKNOWN_ANSWERS + number,
        tokens: outputTokens,
      }),
      outputTokens,
    })
    if (session === null) continue
    const elapsed = row.field('Elapsed time') === '' ? 0 : secondsIn(row, 'Elapsed time')
    sessions.set(session, { number, endedAt: recordedMs + 1000 * elapsed })
  }
  return { name, requests, modelDir: null }
}

function secondsIn(row: CsvRow, column: string): number {
  const value = Number(row.field(column))
  if (row.field(column) !== '' && value >= 0 && value < Number.POSITIVE_INFINITY) return value
  throw new TraceError(
    `${row.place}: '${column}' is no time in seconds: ${JSON.stringify(row.field(column))}`,
  )
}
