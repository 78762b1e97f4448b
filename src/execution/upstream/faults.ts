/** Errors of undici and the operating system, as the catalogue names them. */
import { PhylloError } from '../../errors.js'

/** How far a request had come when it failed. */
export type Progress = 'waiting' | 'sent' | 'answering'

/** A request that undici refuses to write: an invalid path or header value, which are the client's. */
const refused = new Set(['UND_ERR_INVALID_ARG', 'UND_ERR_NOT_SUPPORTED'])
const malformed = new Set(['UND_ERR_HEADERS_OVERFLOW', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'])
/** Messages of undici's SocketError for protocol faults; every other one means that the connection was lost. */
const malformedMessages = new Set(['bad response', 'bad upgrade'])

/** The cause as a catalogued error. What has no code is no I/O error but a bug of ours. */
export function upstreamFault(error: Error, progress: Progress, podId: string): PhylloError {
  if (error instanceof PhylloError) return error
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  const fail = (kind: PhylloError['code'], what: string) =>
    new PhylloError(kind, `pod ${podId} ${what}`, null, { cause: error })
  // Its code is that of llhttp, and undefined for most of them.
  const unparsable = error.name === 'HTTPParserError'
  if (refused.has(code)) return new PhylloError('invalid_request', error.message, null, { cause: error })
  if (code === '' && !unparsable)
    return new PhylloError('internal_error', `internal error: ${error.message}`, null, { cause: error })
  if (progress === 'waiting') return fail('pod_unreachable', `cannot be reached (${code})`)
  if (unparsable || malformed.has(code) || malformedMessages.has(error.message)) {
    return fail('pod_bad_response', 'sent a malformed answer')
  }
  return fail('pod_closed_early', `closed the connection ${where[progress]}`)
}

const where = { sent: 'before it answered', answering: 'in the middle of its answer' } as const
