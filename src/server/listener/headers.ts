/**
 * Header rules that both adapters share: what may pass this hop, how a request must be framed, and how an answer's
 * values are made safe to put on the wire.
 */
import type { HeaderList } from './listener.js'

/** Names that concern one connection only and are never forwarded (RFC 9110 §7.6.1, with RFC 2616's older ones). */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/** What the adapter writes itself: the framing of its own answer, and the clock. */
const OWNED = new Set(['content-length', 'date'])

/**
 * What is wrong with a request's framing, or null. Two servers that disagree on where a body ends let one client put
 * a request into another client's connection (request smuggling, RFC 9112 §11.2); so whatever leaves room for two
 * readings is refused, more strictly than either parser does: uWebSockets.js takes the first of several
 * Content-Lengths and reads any Transfer-Encoding as chunked; llhttp accepts `gzip, chunked` and two Hosts.
 */
export function framingFault(headers: HeaderList): string | null {
  let length: string | undefined
  let coding: string | undefined
  let hosts = 0
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]
    if (name === 'content-length') {
      if (length !== undefined) return 'more than one Content-Length header'
      length = headers[i + 1] ?? ''
      if (!DECIMAL.test(length)) return 'Content-Length is not a decimal number'
    } else if (name === 'transfer-encoding') {
      if (coding !== undefined) return 'more than one Transfer-Encoding header'
      coding = headers[i + 1] ?? ''
      if (coding.toLowerCase() !== 'chunked') return 'Transfer-Encoding other than chunked'
    } else if (name === 'host') {
      hosts += 1
    }
  }
  if (length !== undefined && coding !== undefined) return 'both Content-Length and Transfer-Encoding'
  if (hosts !== 1) return hosts === 0 ? 'no Host header' : 'more than one Host header'
  return null
}

/** 15 digits stay exact in a double. */
const DECIMAL = /^[0-9]{1,15}$/
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/**
 * Whether a name may go into an answer, remembered: names come from a small set, and one lookup is cheaper than the
 * token check and two set lookups. Bounded, as a pod could invent names.
 */
const passes = new Map<string, boolean>()
const MOST_REMEMBERED = 512

/** May an answer carry this header? Not if it is hop-by-hop, the adapter's own, or not a token. */
export function mayAnswer(name: string): boolean {
  const known = passes.get(name)
  if (known !== undefined) return known
  const lower = name.toLowerCase()
  const pass = TOKEN.test(name) && !HOP_BY_HOP.has(lower) && !OWNED.has(lower)
  if (passes.size < MOST_REMEMBERED) passes.set(name, pass)
  return pass
}

const PLAIN = /^[\t\x20-\x7e]*$/

/** True for values that are the same in ASCII, Latin-1 and UTF-8 and need no cleaning: nearly all. */
export const isPlain = (value: string): boolean => PLAIN.test(value)

/**
 * A value that cannot break out of its line. Control characters become spaces. Characters above U+00FF become `?`:
 * headers go out as Latin-1, which keeps only the low byte, and that of U+010D is a carriage return.
 */
export function cleanValue(value: string): string {
  let out = ''
  for (let i = 0; i < value.length; i++) {
    const code = value.charCodeAt(i)
    if (code > 0xff) out += '?'
    else if ((code < 0x20 && code !== 0x09) || code === 0x7f) out += ' '
    else out += value[i]
  }
  return out
}

/** The answer's own headers as name, value, …: what may pass, made safe. */
export function answerHeaders(headers: HeaderList): string[] {
  const out: string[] = []
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? ''
    const value = headers[i + 1] ?? ''
    if (mayAnswer(name)) out.push(name, isPlain(value) ? value : cleanValue(value))
  }
  return out
}
