/** How an error becomes an HTTP answer: the catalogue's status and an OpenAI-style JSON body. */
import type { PhylloError } from '../errors.js'
import type { ClientSink } from './sink.js'

/** What an error's answer says besides the error. */
export interface ErrorContext {
  /** Absent only where no request was read, as for one whose framing is broken. */
  readonly requestId?: string | undefined
  /** The pod at fault, if there is one. */
  readonly podId?: string | undefined
  /** Further headers: name, value, name, value, … */
  readonly headers?: readonly string[] | undefined
}

/** The headers of an error's answer. `retry-after` is there where waiting helps. */
export function errorHeaders(error: PhylloError, context: ErrorContext): string[] {
  const { requestId, podId, headers } = context
  const all = ['content-type', 'application/json']
  if (requestId !== undefined) all.push('x-request-id', requestId)
  if (podId !== undefined) all.push('x-phyllo-pod', podId)
  if (error.kind.retryAfter !== undefined) all.push('retry-after', String(error.kind.retryAfter))
  if (headers !== undefined) all.push(...headers)
  return all
}

/** The error as the last event of a stream. The blank line ends an event that was cut in two; else it means nothing. */
export const errorEvent = (error: PhylloError): string => `\n\nevent: error\ndata: ${error.toBody()}\n\n`

/** Answers with the error; a no-op if the client has gone. */
export function answerError(sink: ClientSink, error: PhylloError, context: ErrorContext): void {
  if (sink.closed) return
  sink.begin(error.kind.status, errorHeaders(error, context))
  sink.end(error.toBody())
}
