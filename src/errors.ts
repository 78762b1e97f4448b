/**
 * The one catalogue of errors a client or an operator can meet.
 *
 * Each kind has a stable `code` (never reworded; clients may match on it), the HTTP status it becomes, its
 * *source* and whether the same request may be tried again elsewhere before a byte has gone to the client.
 * With source and retry on the error itself, the executor's retry rule is one readable line.
 */

/** Who is to blame: the caller, an engine pod, or Phyllo itself. */
export type ErrorSource = 'client' | 'upstream' | 'internal'

/** What every error of a kind has in common. */
export interface ErrorKind {
  readonly status: number
  readonly source: ErrorSource
  /** May the request go to the next best pod, provided nothing has been sent to the client? */
  readonly retry: boolean
  /** OpenAI's `error.type`. */
  readonly type: string
  /** Seconds for a `retry-after` header, where waiting helps. */
  readonly retryAfter?: number
}

const client = (status: number, type = 'invalid_request_error'): ErrorKind => ({
  status,
  source: 'client',
  retry: false,
  type,
})
const upstream = (status: number, retry: boolean): ErrorKind => ({
  status,
  source: 'upstream',
  retry,
  type: 'upstream_error',
})
const internal = (status: number, retryAfter?: number): ErrorKind => ({
  status,
  source: 'internal',
  retry: false,
  type: 'server_error',
  ...(retryAfter === undefined ? {} : { retryAfter }),
})

export const errorCatalogue = {
  bad_json: client(400),
  invalid_request: client(400),
  template_error: client(400),
  bad_framing: client(400),
  path_not_found: client(404),
  model_not_found: client(404),
  response_not_found: client(404),
  method_not_allowed: client(405),
  request_timeout: client(408),
  body_too_large: client(413),
  headers_too_large: client(431),
  client_closed: client(499),
  pod_unreachable: upstream(502, true),
  pod_closed_early: upstream(502, true),
  pod_bad_response: upstream(502, true),
  pod_error: upstream(502, true),
  pod_timeout: upstream(504, false),
  // A step's own deadline, which is short because another pod may do better.
  step_timeout: upstream(504, true),
  no_pod: internal(503, 1),
  overloaded: internal(503, 1),
  shutting_down: internal(503, 1),
  internal_error: internal(500),
} as const satisfies Record<string, ErrorKind>

/** A stable error code. */
export type ErrorCode = keyof typeof errorCatalogue

/** An error with a place in the catalogue. `param` names the offending request field, if there is one. */
export class PhylloError extends Error {
  override readonly name = 'PhylloError'
  readonly kind: ErrorKind

  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly param: string | null = null,
    options?: ErrorOptions,
  ) {
    super(message, options)
    this.kind = errorCatalogue[code]
  }

  /** The OpenAI-style body: `{"error": {message, type, param, code}}`. */
  toBody(): string {
    return JSON.stringify({
      error: { message: this.message, type: this.kind.type, param: this.param, code: this.code },
    })
  }
}

/** Any thrown value as a catalogued error; what is not one already is Phyllo's own fault. */
export function toPhylloError(error: unknown): PhylloError {
  if (error instanceof PhylloError) return error
  const message = error instanceof Error ? error.message : String(error)
  return new PhylloError('internal_error', `internal error: ${message}`, null, { cause: error })
}
