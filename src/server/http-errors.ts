/** How an error becomes an HTTP answer. */
import type { PhylloError } from '../errors.js'
import type { Exchange } from './listener/listener.js'

/** The headers of an error answer. `retry-after` is there where waiting helps. */
export function errorHeaders(error: PhylloError, requestId: string | null): string[] {
  const headers = ['content-type', 'application/json']
  if (requestId !== null) headers.push('x-request-id', requestId)
  if (error.kind.retryAfter !== undefined) headers.push('retry-after', String(error.kind.retryAfter))
  return headers
}

const none: readonly string[] = []

/** Answers with the error's status and its OpenAI-style body; a no-op if the client has gone. `more`: further headers. */
export function sendError(
  exchange: Exchange,
  error: PhylloError,
  requestId: string | null,
  more: readonly string[] = none,
): void {
  if (exchange.closed) return
  exchange.begin(error.kind.status, [...errorHeaders(error, requestId), ...more])
  exchange.end(error.toBody())
}
