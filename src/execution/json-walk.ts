/**
 * Walks over the top level of a JSON object or array on its bytes. Nothing is decoded and nothing below the top level
 * is looked at, so that big numbers, odd spacing and unknown fields can't be changed by it.
 *
 * It trusts that the JSON is valid, which the native scan has checked of a request. Anything else ends in a
 * PhylloError or in a wrong piece, never in an endless loop: every step goes forward.
 */
import { PhylloError } from '../errors.js'

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d

/**
 * Bytes of a string looked at one by one before the search for its end is left to `indexOf`, whose call costs as much
 * as some fifty of them. Texts with a quote in every line, as code has, stay cheap that way.
 */
const NEAR = 48

/** The bytes as a Buffer over the same memory. */
export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** One after the other, the members of an object or the elements of an array. All places are offsets into the bytes. */
export class JsonWalk {
  readonly #json: Buffer
  readonly #close: number
  readonly #known: Uint32Array | undefined
  #at: number
  #isFirst = true
  /** Behind the opening bracket. */
  readonly start: number
  /** Of a member: its name with the quotes. */
  keyStart = 0
  keyEnd = 0
  valueStart = 0
  valueEnd = 0
  /** Where the closing bracket is, once all was walked over. */
  end = -1

  /**
   * `shape`: what the bytes are to be. `known`: `[offset, length]` of values that were found before, which are not
   * walked through again; length 0 = none.
   *
   * @throws PhylloError internal_error if the bytes are not of that shape
   */
  constructor(json: Buffer, shape: 'object' | 'array', known?: Uint32Array) {
    this.#json = json
    this.#known = known
    this.#close = shape === 'object' ? CLOSE_BRACE : CLOSE_BRACKET
    const at = skipSpace(json, 0)
    if (json[at] !== (shape === 'object' ? OPEN_BRACE : OPEN_BRACKET)) throw broken(at)
    this.start = at + 1
    this.#at = at + 1
  }

  /** Goes to the next; false at the end. @throws PhylloError internal_error if this is no JSON */
  next(): boolean {
    const json = this.#json
    if (this.end >= 0) return false
    let at = skipSpace(json, this.#at)
    if (json[at] === this.#close) {
      this.end = at
      return false
    }
    if (!this.#isFirst) {
      if (json[at] !== COMMA) throw broken(at)
      at = skipSpace(json, at + 1)
    }
    this.#isFirst = false
    if (this.#close === CLOSE_BRACE) {
      this.keyStart = at
      if (json[at] !== QUOTE) throw broken(at)
      this.keyEnd = skipString(json, at)
      at = skipSpace(json, this.keyEnd)
      if (json[at] !== COLON) throw broken(at)
      at = skipSpace(json, at + 1)
    }
    this.valueStart = at
    this.valueEnd = this.#knownEnd(at) ?? skipValue(json, at)
    this.#at = this.valueEnd
    return true
  }

  #knownEnd(start: number): number | undefined {
    const known = this.#known
    if (known === undefined) return undefined
    for (let i = 0; i < known.length; i += 2) {
      const length = known[i + 1] ?? 0
      if (length > 0 && known[i] === start) return start + length
    }
    return undefined
  }

  /**
   * The member's name, decoded; undefined for one of more bytes than `longest` characters can take, so that a long one
   * costs nothing.
   */
  name(longest: number): string | undefined {
    const length = this.keyEnd - this.keyStart - 2
    // Every character may be written as \uXXXX.
    if (length > longest * 6) return undefined
    const raw = this.#json.toString('utf8', this.keyStart + 1, this.keyEnd - 1)
    return raw.includes('\\') ? unescaped(raw) : raw
  }
}

const isSpace = (byte: number | undefined): boolean =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

function skipSpace(json: Buffer, from: number): number {
  let at = from
  while (isSpace(json[at])) at++
  return at
}

/** Behind the value that begins there. */
function skipValue(json: Buffer, from: number): number {
  const first = json[from]
  if (first === QUOTE) return skipString(json, from)
  if (first === OPEN_BRACE || first === OPEN_BRACKET) return skipNested(json, from)
  let at = from
  for (; at < json.length; at++) {
    const byte = json[at]
    if (byte === COMMA || byte === CLOSE_BRACE || byte === CLOSE_BRACKET || isSpace(byte)) break
  }
  if (at === from) throw broken(at)
  return at
}

/** Behind the bracket that closes the one there. Depth is counted, so that deep nesting takes no stack. */
function skipNested(json: Buffer, from: number): number {
  let depth = 0
  for (let at = from; at < json.length; ) {
    const byte = json[at]
    if (byte === QUOTE) {
      at = skipString(json, at)
      continue
    }
    at++
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++
    else if ((byte === CLOSE_BRACE || byte === CLOSE_BRACKET) && --depth === 0) return at
  }
  throw broken(json.length)
}

/** Behind the quote that closes the string which opens there. */
function skipString(json: Buffer, open: number): number {
  let at = open + 1
  for (;;) {
    const near = Math.min(at + NEAR, json.length)
    for (; at < near; at++) {
      const byte = json[at]
      if (byte === QUOTE) return at + 1
      // Whatever is escaped, it is not the end; nor is the first of the four digits of \uXXXX.
      if (byte === BACKSLASH) at++
    }
    const close = json.indexOf(QUOTE, at)
    if (close < 0) throw broken(json.length)
    // `at` is not escaped, so that a run of backslashes up to the quote counts from there.
    let slash = close
    while (slash > at && json[slash - 1] === BACKSLASH) slash--
    if (((close - slash) & 1) === 0) return close + 1
    at = close + 1
  }
}

function unescaped(raw: string): string | undefined {
  try {
    return String(JSON.parse(`"${raw}"`))
  } catch {
    return undefined
  }
}

const broken = (at: number): PhylloError =>
  new PhylloError('internal_error', `internal error: a body that was to be changed is no JSON at byte ${at}`)
