/**
 * Which headers pass, in both directions. Framing is never forwarded: each side of the router re-serialises its own,
 * so that the two can't disagree about where a message ends (request smuggling).
 */
import type { RequestHead } from '../decision/context.js'

/**
 * Belong to one connection (RFC 9110 §7.6.1 and the older list of RFC 2616 §13.5.1) or to its framing, plus those that
 * the router writes anew. `expect`: the body is already here, nothing is left to wait for.
 */
const notForwarded = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  'host',
  'content-length',
  'expect',
  'x-request-id',
  'x-forwarded-for',
])

/** Not relayed to the client; `date` is written by the listener, the two x- headers by the relay. */
const notRelayed = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'content-length',
  'date',
  'x-request-id',
  'x-phyllo-pod',
])

/** The client's headers as a pod gets them: name, value, name, value, … */
export function forwardedHeaders(request: RequestHead, clientAddress: string): string[] {
  const { headers, id } = request
  const out: string[] = []
  let forwardedFor = ''
  let connection = ''
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? ''
    const value = headers[i + 1] ?? ''
    if (!notForwarded.has(name)) out.push(name, value)
    else if (name === 'connection') connection = listed(connection, value)
    else if (name === 'x-forwarded-for') forwardedFor = listed(forwardedFor, value)
  }
  out.push('x-request-id', id)
  if (clientAddress !== '') forwardedFor = listed(forwardedFor, clientAddress)
  if (forwardedFor !== '') out.push('x-forwarded-for', forwardedFor)
  return listsHeaders(connection) ? withoutListed(out, connection) : out
}

/** Several lines of a list header are one list (RFC 9110 §5.3). */
function listed(list: string, value: string): string {
  return list === '' ? value : `${list}, ${value}`
}

/** `keep-alive` and `close` are what nearly every client says; they name no header. */
function listsHeaders(connection: string): boolean {
  return connection !== '' && connection !== 'keep-alive' && connection !== 'close'
}

/** Takes out the headers that a `connection` header names as its own. */
function withoutListed(headers: readonly string[], connection: string): string[] {
  return withoutNamed(headers, new Set(connection.split(',').map(token => token.trim().toLowerCase())))
}

/** The headers (name in lower case, value, …) but for those of these names. */
export function withoutNamed(
  headers: readonly string[],
  names: { readonly has: (name: string) => boolean },
): string[] {
  const out: string[] = []
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? ''
    if (!names.has(name)) out.push(name, headers[i + 1] ?? '')
  }
  return out
}

/** A pod's answer head, read once: what passes, and what the relay must know. */
export interface AnswerHead {
  /** name, value, name, value, …; names in lower case. */
  readonly headers: string[]
  /** -1 if not given. */
  readonly contentLength: number
  /** A stream of server-sent events in plain text, into which an event can be written. */
  readonly events: boolean
  /** Compressed or otherwise encoded. */
  readonly encoded: boolean
}

/** Reads undici's raw header list (name, value, …, as bytes of latin1, which is what HTTP/1.1 headers are). */
export function relayedHeaders(raw: readonly Buffer[]): AnswerHead {
  const headers: string[] = []
  let contentLength = -1
  let eventStream = false
  let encoded = false
  let connection = ''
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = latin1(raw[i]).toLowerCase()
    const value = latin1(raw[i + 1])
    if (name === 'content-length') contentLength = Number(value)
    else if (name === 'connection') connection = value.toLowerCase()
    else if (name === 'content-type') eventStream = /^text\/event-stream\b/i.test(value)
    else if (name === 'content-encoding') encoded = value.toLowerCase() !== 'identity'
    if (!notRelayed.has(name)) headers.push(name, value)
  }
  return {
    headers: listsHeaders(connection) ? withoutListed(headers, connection) : headers,
    contentLength,
    events: eventStream && !encoded,
    encoded,
  }
}

function latin1(bytes: Buffer | undefined): string {
  return bytes === undefined ? '' : bytes.toString('latin1')
}
