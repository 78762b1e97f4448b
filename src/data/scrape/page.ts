/**
 * Reads the few lines of interest from a metrics page as it comes in. Pages are 50 to 100 KB of which 1 KB matters, so
 * there is no parser of the whole: the needles are searched for in the bytes, and only lines that hold one are read.
 * A line that is cut by the end of a piece is kept until the rest of it comes.
 *
 * Series of one metric stand together (the format demands it), so a needle's search ends with its group.
 */
import { AdapterSeries, type EngineAdapters } from './adapter-series.js'
import { type Dialect, VALUE, VALUES } from './dialects.js'
import type { Needle } from './needles.js'
import { SeriesReader } from './series.js'
import { HASH, isBlank, OPEN, skipBlanks, standsAt } from './text-format.js'

/** An engine core's numbers, at the places of VALUE; NaN where the page does not say. */
export interface Core {
  /** The value of the dialect's core label; empty where series have none. */
  readonly label: string
  readonly values: Float64Array
}

export interface Page {
  readonly dialect: Dialect
  readonly cores: readonly Core[]
  /**
   * What to look for on the engine's next page: those that were found, and the one of adapters, since an engine says
   * nothing of them before the first request.
   */
  readonly needles: readonly Needle[]
  /** Of the engine as a whole; undefined if the page says nothing of them that can be relied on. */
  readonly adapters: EngineAdapters | undefined
}

/** The longest real line, vLLM's cache_config_info, has 1.3 KB; a longer one than this is passed over. */
const LINE_BYTES = 65_536
/** As many data-parallel ranks as there can be pods; further ones are passed over. */
const MOST_CORES = 1024
/** Where numbers end that can be counts of requests, tokens or blocks. */
const MOST = 2 ** 31
/**
 * How much further up than on the last page a metric may stand and still be found there. Pages only grow while an engine
 * runs; one that has shrunk by more lacks the metric, upon which its reader looks again at all of it.
 */
const SLACK_BYTES = 1024
/**
 * One large page in so many is searched for what is not there: that takes 20 µs of 60 KB, where all else takes 11. A
 * whole page of prometheus_client's announces a gauge that has no series yet; a page asked for by name, which does not,
 * is small.
 */
const RARELY = 16
const SMALL_BYTES = 8192
const NEWLINE = 0x0a
const EMPTY = Buffer.alloc(0)

export class PageReader {
  #needles: readonly Needle[] = []
  /** By needle: 0 not seen, 1 its group has begun, 2 its group is over. */
  #progress = new Uint8Array(0)
  /** By label. A map, since a page may have tens of thousands of labels. */
  readonly #cores = new Map<Dialect, Map<string, Core>>()
  readonly #series = new SeriesReader()
  readonly #adapters = new AdapterSeries()
  /** By needle: how far down the last page its group began; NaN if that is not known. */
  #places = new Float64Array(0)
  /** Pages since others were looked for. */
  #pages = 0
  /** The page before, or this one, has the name of an adapter gauge, be it without series. */
  #namesAdapters = false
  /** How far down this page the bytes are that are looked at now. */
  #base = 0
  #line = EMPTY
  #held = 0
  #tooLong = false

  /** A new page, on which these are looked for: first where they were on the last one, if it is the same engine's. */
  begin(needles: readonly Needle[]): void {
    const isOther = this.#needles !== needles
    if (isOther) this.#places = new Float64Array(needles.length).fill(Number.NaN)
    this.#needles = needles
    this.#progress = new Uint8Array(needles.length)
    this.#skipRare(isOther)
    this.#base = 0
    this.#cores.clear()
    this.#adapters.begin()
    this.#held = 0
    this.#tooLong = false
  }

  /** The gauge of adapters, which most engines never have, is looked for on some pages only until its name is seen. */
  #skipRare(isOther: boolean): void {
    this.#pages = isOther ? 0 : this.#pages + 1
    // What was looked at of the last page, since this one has not begun.
    const isSmall = this.#base < SMALL_BYTES
    if (this.#namesAdapters || isSmall || this.#pages % RARELY === 0) this.#namesAdapters = false
    else for (const [i, { adapters }] of this.#needles.entries()) if (adapters) this.#progress[i] = 2
  }

  /** A piece of the page: the bytes from `from` up to `to`, which are not needed after the call. */
  push(bytes: Buffer, from: number, to: number): void {
    let at = from
    if (this.#held > 0 || this.#tooLong) {
      const end = bytes.indexOf(NEWLINE, at)
      if (end < 0 || end >= to) return this.#hold(bytes, at, to)
      this.#hold(bytes, at, end + 1)
      this.#scanHeld()
      at = end + 1
    }
    const last = at < to ? bytes.lastIndexOf(NEWLINE, to - 1) : -1
    if (last >= at) this.#scan(bytes, at, last + 1)
    this.#hold(bytes, Math.max(at, last + 1), to)
  }

  /** The page is over. Undefined if it is no engine's that is known. */
  finish(): Page | undefined {
    this.#scanHeld()
    this.#line = EMPTY
    let best: Page | undefined
    const adapters = this.#adapters.finish()
    for (const [dialect, byLabel] of this.#cores) {
      const cores = [...byLabel.values()]
      if (cores.every(({ values }) => Number.isNaN(values[VALUE.running]))) continue
      const needles = this.#needles.filter(
        (each, i) => each.dialect === dialect && (this.#progress[i] !== 0 || each.adapters !== undefined),
      )
      if (best !== undefined && needles.length <= best.needles.length) continue
      best = { dialect, cores, needles, adapters: dialect.adapters && adapters }
    }
    return best
  }

  #hold(bytes: Buffer, from: number, to: number): void {
    const length = to - from
    if (this.#tooLong || length === 0) return
    if (this.#held + length > LINE_BYTES) {
      this.#tooLong = true
      return
    }
    if (this.#held + length > this.#line.length) {
      const wider = Buffer.allocUnsafe(Math.min(LINE_BYTES, 2 * (this.#held + length)))
      this.#line.copy(wider, 0, 0, this.#held)
      this.#line = wider
    }
    bytes.copy(this.#line, this.#held, from, to)
    this.#held += length
  }

  #scanHeld(): void {
    if (!this.#tooLong && this.#held > 0) this.#scan(this.#line, 0, this.#held)
    this.#held = 0
    this.#tooLong = false
  }

  /** Whole lines, the last one perhaps without its newline. */
  #scan(bytes: Buffer, from: number, to: number): void {
    let start = from
    for (let i = 0; i < this.#needles.length; i++) {
      const needle = this.#needles[i]
      if (needle === undefined || this.#progress[i] === 2) continue
      // A group that the last piece ended in goes on.
      const goesOn = this.#progress[i] === 1
      const at = goesOn ? skipBlanks(bytes, from, to) : this.#locate(i, needle, bytes, from, start, to)
      if (at < 0) continue
      if (!goesOn) this.#places[i] = this.#base + at - from
      start = this.#readGroup(needle, i, bytes, at, to)
    }
    this.#base += to - from
  }

  /** Where a metric's group begins; -1 if not here. */
  #locate(i: number, needle: Needle, bytes: Buffer, from: number, start: number, to: number): number {
    const guess = from + (this.#places[i] ?? Number.NaN) - this.#base - SLACK_BYTES
    if (guess >= to) return -1
    if (guess > from) {
      const at = this.#find(needle, bytes, from, guess, to)
      if (at >= 0 && isAnnounced(bytes, from, at)) return at
    }
    // Behind the one before, mostly; else before it.
    const at = this.#find(needle, bytes, from, start, to)
    return at >= 0 || start === from ? at : this.#find(needle, bytes, from, from, start)
  }

  /** The first series of a metric from `start` on; -1 if there is none. Lines begin at `from`. */
  #find(needle: Needle, bytes: Buffer, from: number, start: number, to: number): number {
    const part = bytes.subarray(0, to)
    for (let at = part.indexOf(needle.bytes, start); at >= 0; at = part.indexOf(needle.bytes, at + 1)) {
      if (needle.adapters !== undefined) this.#namesAdapters = true
      if (isSeries(needle, part, at, from)) return at
    }
    return -1
  }

  /** Reads series until one of another metric comes; answers where it stopped. */
  #readGroup(needle: Needle, i: number, bytes: Buffer, first: number, to: number): number {
    this.#progress[i] = 1
    let at = first
    while (at < to) {
      const newline = bytes.indexOf(NEWLINE, at)
      const end = newline < 0 || newline >= to ? to : newline
      if (standsAt(bytes, at, end, needle.bytes) && endsName(bytes[at + needle.bytes.length])) {
        this.#readSeries(needle, bytes, at + needle.bytes.length, end)
      } else if (at < end && !isRemark(bytes, at, end)) {
        this.#progress[i] = 2
        return at
      }
      at = skipBlanks(bytes, end + 1, to)
    }
    return to
  }

  /** From behind the name up to the line's end. */
  #readSeries(needle: Needle, bytes: Buffer, from: number, end: number): void {
    if (needle.adapters !== undefined) return this.#adapters.read(needle.adapters, bytes, from, end)
    const series = this.#series
    if (!series.read(needle, bytes, from, end)) return
    const core = this.#core(needle.dialect, bytes.toString('utf8', series.coreFrom, series.coreTo))
    if (core === undefined) return
    for (let i = 0; i < needle.uses.length; i++)
      note(core.values, needle.uses[i]?.place ?? 0, series.value(needle, i))
  }

  #core(dialect: Dialect, label: string): Core | undefined {
    let cores = this.#cores.get(dialect)
    if (cores === undefined) {
      cores = new Map()
      this.#cores.set(dialect, cores)
    }
    const known = cores.get(label)
    if (known !== undefined || cores.size >= MOST_CORES) return known
    const core = { label, values: new Float64Array(VALUES).fill(Number.NaN) }
    cores.set(label, core)
    return core
  }
}

/** Keeps the highest that makes sense; what does not, says nothing. */
function note(values: Float64Array, place: number, value: number): void {
  if (!(value >= 0 && value < MOST)) return
  const before = values[place] ?? Number.NaN
  if (!(before >= value)) values[place] = value
}

/** Is this hit the name at the beginning of a sample line, and not part of another name, a label or a remark? */
function isSeries(needle: Needle, bytes: Buffer, at: number, from: number): boolean {
  if (!endsName(bytes[at + needle.bytes.length])) return false
  let before = at - 1
  while (before >= from && isBlank(bytes[before])) before--
  return before < from || bytes[before] === NEWLINE
}

const endsName = (byte: number | undefined): boolean => byte === OPEN || isBlank(byte)

const KEYWORDS = ['HELP', 'TYPE', 'UNIT'].map(word => Buffer.from(word))

/** A comment that does not announce the next metric; an empty line is one, too. */
function isRemark(bytes: Buffer, at: number, end: number): boolean {
  const start = skipBlanks(bytes, at, end)
  if (start === end) return true
  if (bytes[start] !== HASH) return false
  const word = skipBlanks(bytes, start + 1, end)
  return !KEYWORDS.some(keyword => standsAt(bytes, word, end, keyword))
}

/** Does the line before announce a metric? Then the one here is the first of its group. */
function isAnnounced(bytes: Buffer, from: number, at: number): boolean {
  const end = bytes.lastIndexOf(NEWLINE, at)
  if (end <= from) return false
  const start = Math.max(from, bytes.lastIndexOf(NEWLINE, end - 1) + 1)
  return start < end && !isRemark(bytes, start, end) && bytes[skipBlanks(bytes, start, end)] === HASH
}
