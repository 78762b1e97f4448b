/**
 * Which LoRA adapters an engine says it works with. vLLM makes a series of its gauge for each combination of adapters
 * that it ever had, and sets the one of the present combination to the time, in seconds since 1970, at each step:
 *
 *     vllm:lora_requests_info{max_lora="4",running_lora_adapters="a,b",waiting_lora_adapters="c"} 1.789828498802105e+09
 *
 * So the latest one counts. One without any adapter is set when the engine has nothing to do: what it had last is still
 * loaded then, so that those count only where there is no other (as the Gateway API inference extension reads them).
 * A page may have thousands of series, so that only the time is read of those that are not later than the ones before.
 */
import { isExactly, Labels, numberOf, OPEN, skipBlanks, wordEnd } from './text-format.js'

/** Where a dialect says it. Lists are of names with commas between. */
export interface AdapterLabels {
  readonly metric: string
  readonly running: string
  readonly waiting: string
  /** Its value is a number: as EngineAdapters.max. */
  readonly max: string
}

/** The same as bytes to compare with. */
export interface AdapterNeedle {
  readonly running: Buffer
  readonly waiting: Buffer
  readonly max: Buffer
}

export const adapterNeedle = ({ running, waiting, max }: AdapterLabels): AdapterNeedle => ({
  running: Buffer.from(running),
  waiting: Buffer.from(waiting),
  max: Buffer.from(max),
})

/** What an engine says of its adapters. */
export interface EngineAdapters {
  /** Places: adapters that one batch can have, and that are loaded at a time (vLLM's --max-loras). */
  readonly max: number
  /** Names of those that requests run with, or, of an idle engine, ran with last; none twice. */
  readonly running: readonly string[]
  /** Names of those that requests in the queue ask for; none twice, but they may run, too. */
  readonly waiting: readonly string[]
}

/** Adapters that are remembered of a list: places take GPU memory, and vLLM has 1 unless told. Further ones are dropped. */
export const MOST_TOLD = 64
/** A longer list is none that an engine would work with: 64 names of 256 bytes. Such a page says nothing of adapters. */
const LIST_BYTES = 16_384
/**
 * No time of the next 40 years. vLLM's API servers, where an engine has several, add up the times of series that they
 * have in common, so that nobody can tell which of them is the latest: such a page says nothing of adapters.
 */
const MOST_SECONDS = 3e9
const NONE = Buffer.alloc(0)

export class AdapterSeries {
  /** Of the latest series so far; of those with adapters, if there are any. */
  #time = -1
  #max = Number.NaN
  #isIdle = true
  #isSum = false
  readonly #running = new List()
  readonly #waiting = new List()
  readonly #labels = new Labels()
  #last: EngineAdapters | undefined

  /** A new page. */
  begin(): void {
    this.#time = -1
    this.#max = Number.NaN
    this.#isIdle = true
    this.#isSum = false
  }

  /** A series, from behind the metric's name up to the line's end. */
  read(needle: AdapterNeedle, bytes: Buffer, from: number, end: number): void {
    const start = skipBlanks(bytes, from, end)
    if (bytes[start] !== OPEN) return
    // A gauge has no exemplar, so the number is what follows the last brace.
    const time = timeAtEnd(bytes, start, end)
    if (time > MOST_SECONDS) this.#isSum = true
    // Idle ones give way to any with adapters, however old.
    if (!(time >= 0) || (time <= this.#time && !this.#isIdle)) return
    this.#readLabels(needle, bytes, start + 1, end, time)
  }

  /** What the page says; undefined if it does not, or makes no sense. The same object as before if it says the same. */
  finish(): EngineAdapters | undefined {
    const isKnown = this.#time >= 0 && !this.#isSum && Number.isInteger(this.#max) && this.#max > 0
    if (!isKnown || this.#running.isTooLong || this.#waiting.isTooLong) {
      this.#last = undefined
      return undefined
    }
    const max = Math.min(this.#max, MOST_TOLD)
    const running = this.#running.names()
    const waiting = this.#waiting.names()
    const last = this.#last
    if (last === undefined || last.max !== max || last.running !== running || last.waiting !== waiting)
      this.#last = { max, running, waiting }
    return this.#last
  }

  #readLabels(needle: AdapterNeedle, bytes: Buffer, from: number, end: number, time: number): void {
    const labels = this.#labels
    let max = Number.NaN
    let runningFrom = 0
    let runningTo = 0
    let waitingFrom = 0
    let waitingTo = 0
    labels.start(from)
    while (labels.next(bytes, end)) {
      const { nameFrom, nameTo, valueFrom, valueTo } = labels
      if (isExactly(bytes, nameFrom, nameTo, needle.max)) max = numberOf(bytes, valueFrom, valueTo)
      else if (isExactly(bytes, nameFrom, nameTo, needle.running)) {
        runningFrom = valueFrom
        runningTo = valueTo
      } else if (isExactly(bytes, nameFrom, nameTo, needle.waiting)) {
        waitingFrom = valueFrom
        waitingTo = valueTo
      }
    }
    if (labels.end < 0) return
    const isIdle = runningTo === runningFrom && waitingTo === waitingFrom
    if (isIdle ? !this.#isIdle || time <= this.#time : !this.#isIdle && time <= this.#time) return
    this.#time = time
    this.#isIdle = isIdle
    this.#max = max
    this.#running.keep(bytes, runningFrom, runningTo)
    this.#waiting.keep(bytes, waitingFrom, waitingTo)
  }
}

/** A label's list of names: its bytes, and what they mean, which is found out once for all pages that say the same. */
class List {
  isTooLong = false
  #bytes = NONE
  #length = 0
  /** What `#names` are of. */
  #raw = ''
  #names: readonly string[] = []

  keep(bytes: Buffer, from: number, to: number): void {
    const length = to - from
    this.isTooLong = length > LIST_BYTES
    this.#length = this.isTooLong ? 0 : length
    if (this.#length > this.#bytes.length) this.#bytes = Buffer.allocUnsafe(Math.min(LIST_BYTES, 2 * length))
    if (this.#length > 0) bytes.copy(this.#bytes, 0, from, to)
  }

  /** The same array as before if the bytes are the same. */
  names(): readonly string[] {
    const raw = this.#bytes.toString('utf8', 0, this.#length)
    if (raw === this.#raw) return this.#names
    this.#raw = raw
    const all = unescaped(raw)
      .split(',')
      .map(name => name.trim())
      .filter(name => name !== '')
    this.#names = [...new Set(all)].slice(0, MOST_TOLD)
    return this.#names
  }
}

const unescaped = (raw: string): string =>
  raw.includes('\\')
    ? raw.replace(/\\([\\"n])/g, (_, escaped: string) => (escaped === 'n' ? '\n' : escaped))
    : raw

const PLUS = 0x2b
const POINT = 0x2e
const ZERO = 0x30
const NINE = 0x39
const LOWER_E = 0x65
const CLOSE = 0x7d
/** What a double holds exactly of a number's digits, in any case. */
const MOST_EXACT = 2 ** 53 / 10 - 1

/** The sample behind the labels; NaN if there is none. */
function timeAtEnd(bytes: Buffer, from: number, end: number): number {
  let brace = end - 1
  while (brace > from && bytes[brace] !== CLOSE) brace--
  const word = skipBlanks(bytes, brace + 1, end)
  return secondsOf(bytes, word, wordEnd(bytes, word, end))
}

/**
 * A time as Python and Go write it, `1789828498.8` or `1.7898284988e+09`, to a microsecond and without allocating; what
 * looks otherwise is read as any number.
 */
function secondsOf(bytes: Buffer, from: number, to: number): number {
  let digits = 0
  let decimals = -1
  let at = from
  for (; at < to; at++) {
    const byte = bytes[at] ?? 0
    if (byte >= ZERO && byte <= NINE) {
      // Digits beyond these are of less than a microsecond, in a time.
      if (digits > MOST_EXACT && decimals >= 0) continue
      digits = digits * 10 + (byte - ZERO)
      if (decimals >= 0) decimals++
    } else if (byte === POINT && decimals < 0 && at > from) decimals = 0
    else break
  }
  const isPlain = at === to && to > from
  const hasTens = at + 4 === to && bytes[at] === LOWER_E && bytes[at + 1] === PLUS
  if (!isPlain && !hasTens) return numberOf(bytes, from, to)
  const power = (hasTens ? tensOf(bytes[at + 2]) * 10 + tensOf(bytes[at + 3]) : 0) - Math.max(0, decimals)
  if (!(Math.abs(power) <= 22)) return numberOf(bytes, from, to)
  return power < 0 ? digits / 10 ** -power : digits * 10 ** power
}

/** A digit's value; NaN if it is none. */
const tensOf = (byte = 0): number => (byte >= ZERO && byte <= NINE ? byte - ZERO : Number.NaN)
