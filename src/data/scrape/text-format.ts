/**
 * Bytes of the Prometheus text format: labels and numbers of one sample line, read in place. Nothing is allocated, since
 * it runs for every line of interest of every scrape.
 *
 *     name{label="value",…} number [timestamp] [# exemplar]
 */

const TAB = 0x09
const NEWLINE = 0x0a
const CARRIAGE_RETURN = 0x0d
const SPACE = 0x20
const QUOTE = 0x22
const COMMA = 0x2c
const POINT = 0x2e
const ZERO = 0x30
const NINE = 0x39
const EQUALS = 0x3d
const BACKSLASH = 0x5c
const CLOSE = 0x7d

export const OPEN = 0x7b
export const HASH = 0x23

export const isBlank = (byte: number | undefined): boolean =>
  byte === SPACE || byte === TAB || byte === CARRIAGE_RETURN

/** The first place from `at` on that holds no blank. */
export function skipBlanks(bytes: Buffer, at: number, end: number): number {
  let place = at
  while (place < end && isBlank(bytes[place])) place++
  return place
}

/** Does `part` stand at this place? */
export function standsAt(bytes: Buffer, at: number, end: number, part: Buffer): boolean {
  if (at + part.length > end) return false
  for (let i = 0; i < part.length; i++) if (bytes[at + i] !== part[i]) return false
  return true
}

/** Is it exactly `part` that stands from `from` to `to`? */
export const isExactly = (bytes: Buffer, from: number, to: number, part: Buffer): boolean =>
  to - from === part.length && standsAt(bytes, from, to, part)

/** Walks over a line's labels; after `next` answered true, the four places bound a label's name and its raw value. */
export class Labels {
  nameFrom = 0
  nameTo = 0
  valueFrom = 0
  valueTo = 0
  /** Behind the closing brace, once `next` has answered false; -1 if the labels are not well-formed. */
  end = -1
  #at = 0

  /** Starts behind the opening brace. */
  start(at: number): void {
    this.#at = at
    this.end = -1
  }

  next(bytes: Buffer, end: number): boolean {
    let at = skipBlanks(bytes, this.#at, end)
    if (bytes[at] === COMMA) at = skipBlanks(bytes, at + 1, end)
    if (at >= end) return false
    if (bytes[at] === CLOSE) {
      this.end = at + 1
      return false
    }
    this.nameFrom = at
    at = nameEnd(bytes, at, end)
    this.nameTo = at
    at = skipBlanks(bytes, at, end)
    if (at >= end || bytes[at] !== EQUALS) return false
    at = skipBlanks(bytes, at + 1, end)
    if (at >= end || bytes[at] !== QUOTE) return false
    this.valueFrom = ++at
    at = closingQuote(bytes, at, end)
    if (at >= end) return false
    this.valueTo = at
    this.#at = at + 1
    return true
  }
}

// Loops of their own, each over plain numbers: vLLM's cache_config_info alone has 1.3 KB of labels.

function nameEnd(bytes: Buffer, at: number, end: number): number {
  for (let place = at; place < end; place++) {
    const byte = bytes[place] ?? 0
    if (byte === EQUALS || byte <= SPACE) return place
  }
  return end
}

function closingQuote(bytes: Buffer, at: number, end: number): number {
  for (let place = at; place < end; place++) {
    const byte = bytes[place] ?? 0
    if (byte === QUOTE) return place
    if (byte === BACKSLASH) place++
  }
  return end
}

/** Decimal digits that a double holds exactly. */
const EXACT_DIGITS = 15
const decimal = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/

/** The number that these bytes are; NaN if they are none, or one of NaN and the infinities. */
export function numberOf(bytes: Buffer, from: number, to: number): number {
  if (to - from > EXACT_DIGITS || to === from) return anyNumber(bytes, from, to)
  let value = 0
  let scale = 0
  for (let i = from; i < to; i++) {
    const byte = bytes[i] ?? 0
    if (byte >= ZERO && byte <= NINE) {
      value = value * 10 + (byte - ZERO)
      scale *= 10
    } else if (byte === POINT && scale === 0 && i > from) scale = 1
    else return anyNumber(bytes, from, to)
  }
  return scale === 0 ? value : value / scale
}

function anyNumber(bytes: Buffer, from: number, to: number): number {
  const text = bytes.toString('latin1', from, to)
  return decimal.test(text) ? Number(text) : Number.NaN
}

/** The end of the word that starts here: a blank, or the line's end. */
export function wordEnd(bytes: Buffer, at: number, end: number): number {
  let place = at
  while (place < end && !isBlank(bytes[place]) && bytes[place] !== NEWLINE) place++
  return place
}
