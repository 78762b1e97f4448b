/**
 * How lines of the decision log get from the workers to the one thread that writes them, and what became of them. All
 * threads add to the same counters; the bytes under way are bounded over all of them.
 */

/** Places of the counters. */
const PENDING = 0
const WRITTEN = 1
const NO_ROOM = 2
const NOT_WRITTEN = 3
const PLACES = 4

/**
 * Bytes of lines that may be under way, over all threads. A line of a fleet of 16 pods is 3 to 4 KB, so these are some
 * two thousand of them, more than a second of any rate that a disk of 10 MB/s keeps up with.
 */
export const MOST_PENDING_BYTES = 8 * 1024 * 1024

/** Why a line is in no file: too many waited for the disk, or the disk refused it. */
export type DropCause = 'no_room' | 'not_written'

export const createDecisionCounts = (): SharedArrayBuffer =>
  new SharedArrayBuffer(PLACES * BigInt64Array.BYTES_PER_ELEMENT)

/** One thread's access. */
export class DecisionCounts {
  readonly #places: BigInt64Array

  constructor(memory: SharedArrayBuffer) {
    this.#places = new BigInt64Array(memory)
  }

  /** Takes room for a line. False: there is none, and the line is counted as dropped. */
  admit(bytes: number, most = MOST_PENDING_BYTES): boolean {
    const before = Number(Atomics.add(this.#places, PENDING, BigInt(bytes)))
    if (before + bytes <= most) return true
    this.#settle(bytes)
    this.#count(NO_ROOM, 1)
    return false
  }

  /** Lines are in the file. */
  wrote(lines: number, bytes: number): void {
    this.#settle(bytes)
    this.#count(WRITTEN, lines)
  }

  /** They could not be written. */
  lost(lines: number, bytes: number): void {
    this.#settle(bytes)
    this.#count(NOT_WRITTEN, lines)
  }

  get written(): number {
    return this.#at(WRITTEN)
  }

  get pendingBytes(): number {
    return this.#at(PENDING)
  }

  dropped(cause: DropCause): number {
    return this.#at(cause === 'no_room' ? NO_ROOM : NOT_WRITTEN)
  }

  #at(place: number): number {
    return Number(Atomics.load(this.#places, place))
  }

  #count(place: number, by: number): void {
    Atomics.add(this.#places, place, BigInt(by))
  }

  #settle(bytes: number): void {
    Atomics.sub(this.#places, PENDING, BigInt(bytes))
  }
}

/** Lines on their way from a thread, in one string. `bytes` is what they took of the room. */
export interface LineBatch {
  readonly text: string
  readonly lines: number
  readonly bytes: number
}

/** Bytes gathered before they are sent at once, and the milliseconds that fewer wait. */
const BATCH_BYTES = 64 * 1024
const BATCH_MS = 200

/** Gathers a thread's lines: a message a line would cost more than the line. */
export class LineBatcher {
  readonly #parts: string[] = []
  #bytes = 0
  #timer: NodeJS.Timeout | undefined

  constructor(
    private readonly counts: DecisionCounts,
    private readonly send: (batch: LineBatch) => void,
  ) {}

  /** Adds a line without its end, or drops it where there is no room. */
  add(line: string): void {
    // The length in UTF-16 units is what it takes of memory, within a factor of two either way.
    const bytes = line.length + 1
    if (!this.counts.admit(bytes)) return
    this.#parts.push(line)
    this.#bytes += bytes
    if (this.#bytes >= BATCH_BYTES) this.flush()
    else this.#timer ??= setTimeout(() => this.flush(), BATCH_MS).unref()
  }

  /** Sends what there is. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    if (this.#parts.length === 0) return
    const batch = { text: `${this.#parts.join('\n')}\n`, lines: this.#parts.length, bytes: this.#bytes }
    this.#parts.length = 0
    this.#bytes = 0
    this.send(batch)
  }
}
