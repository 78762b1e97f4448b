/** How an error becomes an HTTP answer: the catalogue's status and an OpenAI-style JSON body. */
import type { PhylloError } from '../errors.js'
import type { ClientSink } from './sink.js'

/** Answers with the error; a no-op if the client has gone. `podId`: the pod at fault, if there is one. */
export function answerError(sink: ClientSink, error: PhylloError, requestId: string, podId?: string): void {
  if (sink.closed) return
  const headers = ['content-type', 'application/json', 'x-request-id', requestId]
  if (podId !== undefined) headers.push('x-phyllo-pod', podId)
  if (error.kind.retryAfter !== undefined) headers.push('retry-after', String(error.kind.retryAfter))
  sink.begin(error.kind.status, headers)
  sink.end(error.toBody())
}
