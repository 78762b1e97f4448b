/**
 * What an engine counted of a request, read from the end of its answer: `usage` is the last thing in it, or nearly so.
 *
 * Only the tail is looked at, so the reader can't start at the beginning of the JSON. It reads backwards from its end
 * instead, which is exact: outside of strings at the end, every quote that no odd number of backslashes precedes opens
 * or closes a string, so that brackets in texts don't count and the depth of every key is known. An answer that talks
 * about "usage", a tool with a parameter of that name or metadata of the client's can't be taken for it.
 */
import { parsedText } from './hand-off/fault.js'

/** Tokens as an engine counted them. */
export interface Usage {
  readonly promptTokens: number
  /** Prompt tokens that it found in its cache; -1 where it does not tell. */
  readonly cachedTokens: number
}

/** How an answer is put together. */
export interface AnswerShape {
  /** Server-sent events; otherwise one JSON. */
  readonly events: boolean
  /** A Responses API answer, whose last event holds the whole of it under `response`. */
  readonly responses: boolean
}

/**
 * Bytes of an answer's end that are looked at. Behind `usage` engines put their timings, ids and null fields, a few
 * hundred bytes; in a Responses API answer also the tools and instructions of the request, which may be longer: then
 * there is no usage to be found, and nothing is compared.
 */
export const TAIL_BYTES = 8192

/**
 * Events looked at, from the last one. The last holds it in OpenAI's form; some servers send one more behind it, with
 * figures of their own.
 */
const EVENTS = 2

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const COLON = 0x3a
const NEWLINE = 0x0a
const DATA = Buffer.from('data:')
const KEY = Buffer.from('"usage"')

/** Finds the usage in the last bytes of a whole answer; undefined if there is none to be read. */
export function findUsage(tail: Buffer, shape: AnswerShape): Usage | undefined {
  return shape.events ? inEvents(tail, shape.responses) : inObject(tail, tail.length, 1)
}

function inEvents(tail: Buffer, responses: boolean): Usage | undefined {
  let end = tail.length
  for (let events = 0; events < EVENTS && end > 0; ) {
    const start = tail.lastIndexOf(NEWLINE, end - 1) + 1
    const last = beforeSpace(tail, end)
    // A line that began before the tail can't be told by its beginning. Only data ends like an object.
    const isData = start === 0 || holds(tail, start, DATA)
    if (isData && last > start && tail[last - 1] === CLOSE_BRACE) {
      const usage = inObject(tail, last, responses ? 2 : 1)
      if (usage !== undefined) return usage
      events++
    }
    end = start - 1
  }
  return undefined
}

/** The usage in the JSON object that ends there, `depth` objects deep. */
function inObject(tail: Buffer, end: number, depth: number): Usage | undefined {
  let at = beforeSpace(tail, end) - 1
  if (tail[at] !== CLOSE_BRACE) return undefined
  // Where the brackets close that are open here, outermost first; and the last value in brackets that was passed.
  const closes: number[] = []
  let valueStart = -1
  let valueEnd = -1
  for (; at >= 0; at--) {
    const byte = tail[at]
    if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) closes.push(at)
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      valueStart = at
      valueEnd = closes.pop() ?? -1
      if (closes.length === 0) return undefined
    } else if (byte === QUOTE) {
      const open = opening(tail, at)
      if (closes.length === depth && isKey(tail, open, at) && isValue(tail, at + 1, valueStart)) {
        return toUsage(tail.toString('utf8', valueStart, valueEnd + 1))
      }
      at = open
    }
  }
  return undefined
}

/** The quote that opens the string which ends at `close`; -1 if that is before the tail. */
function opening(tail: Buffer, close: number): number {
  for (let at = close - 1; at >= 0; at--) {
    if (tail[at] !== QUOTE) continue
    let slash = at
    while (slash > 0 && tail[slash - 1] === BACKSLASH) slash--
    // The tail begins here: nobody knows how many backslashes come before.
    if (slash === 0) return -1
    if (((at - slash) & 1) === 0) return at
    at = slash
  }
  return -1
}

const isKey = (tail: Buffer, open: number, close: number): boolean =>
  close - open === KEY.length - 1 && holds(tail, open, KEY)

function holds(tail: Buffer, at: number, bytes: Buffer): boolean {
  for (let i = 0; i < bytes.length; i++) if (tail[at + i] !== bytes[i]) return false
  return true
}

/** Does the value that begins there belong to the key that ends at `from`? */
function isValue(tail: Buffer, from: number, valueStart: number): boolean {
  const colon = skipSpace(tail, from)
  return tail[colon] === COLON && skipSpace(tail, colon + 1) === valueStart
}

const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === NEWLINE || byte === 0x0d || byte === 0x09

function skipSpace(tail: Buffer, from: number): number {
  let at = from
  while (isSpace(tail[at])) at++
  return at
}

function beforeSpace(tail: Buffer, end: number): number {
  let at = end
  while (at > 0 && isSpace(tail[at - 1])) at--
  return at
}

function toUsage(json: string): Usage | undefined {
  const usage = parsedText(json)
  if (usage === undefined) return undefined
  const promptTokens = count(usage, 'prompt_tokens') ?? count(usage, 'input_tokens')
  if (promptTokens === undefined) return undefined
  const details = field(usage, 'prompt_tokens_details') ?? field(usage, 'input_tokens_details')
  return { promptTokens, cachedTokens: count(details, 'cached_tokens') ?? -1 }
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return Object.getOwnPropertyDescriptor(value, name)?.value ?? undefined
}

/** A field that is a number of tokens. More than 31 bits are none that an engine ever counted. */
function count(value: unknown, name: string): number | undefined {
  const found = field(value, name)
  return typeof found === 'number' && Number.isInteger(found) && found >= 0 && found < 2 ** 31
    ? found
    : undefined
}
