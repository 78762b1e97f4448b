/**
 * Which LoRA adapters each pod has, over all threads: what its engine says of them, and which ones it had requests for
 * last. An engine keeps as many adapters loaded as it has places for (vLLM's --max-loras) and drops the least recently
 * used, so that the latter tells what is loaded where the engine says nothing, and what has come since it did.
 */
import { hashWord } from './hash.js'
import { type EngineAdapters, MOST_TOLD } from './scrape/adapter-series.js'

export interface AdapterHandle {
  /** What was sent. */
  readonly memory: SharedArrayBuffer
  /** What engines say. */
  readonly told: SharedArrayBuffer
  readonly width: number
}

/** Adapters remembered a pod: more than an engine's places, which take GPU memory (vLLM has 1 unless told). */
export const ADAPTERS = 32
/** An adapter's hash, and when it had its last request, in turns. */
const ENTRY = 2
const ROW = ADAPTERS * ENTRY

/** A row of what engines say: the turn in which the page was asked for, places (0: it does not say), two counts, hashes. */
const TURN = 0
const PLACES = 1
const RUNNING = 2
const WAITING = 3
const NAMES = 4
const TOLD_ROW = NAMES + 2 * MOST_TOLD

/** 256 bytes a slot for what was sent and 528 for what was told, whatever anybody says. */
export const createAdapterMemory = (width: number): AdapterHandle => ({
  memory: new SharedArrayBuffer((1 + width * ROW) * Int32Array.BYTES_PER_ELEMENT),
  told: new SharedArrayBuffer(width * TOLD_ROW * Int32Array.BYTES_PER_ELEMENT),
  width,
})

/** How a pod stands to an adapter by what its engine says; the first that fits. */
export const STANDING = {
  /** The engine says nothing of adapters. */
  untold: 0,
  /** It runs requests with it. */
  active: 1,
  /** It has a place left for one more. */
  room: 2,
  /** Requests for it are in its queue. */
  waiting: 3,
  /** Others have all places. */
  full: 4,
} as const
export type StandingName = keyof typeof STANDING
export type Standing = (typeof STANDING)[StandingName]

/** What decisions read and note of adapters. They are known by `hashWord` of their names. */
export interface Adapters {
  used(slot: number, adapter: number): void
  since(slot: number, adapter: number): number
  count(slot: number): number
  standing(slot: number, adapter: number): Standing
}

/**
 * One thread's access. Two threads that note adapters on one pod at once may lose one of them, until its next request;
 * who reads while the scraper writes may see a part of the old and of the new, once.
 */
export class AdapterTable implements Adapters {
  readonly #words: Int32Array
  readonly #told: Int32Array

  constructor({ memory, told }: AdapterHandle) {
    this.#words = new Int32Array(memory)
    this.#told = new Int32Array(told)
  }

  /** The pod got a request for that adapter; the least recently used one makes way for a new one. */
  used(slot: number, adapter: number): void {
    const words = this.#words
    const hash = adapter | 0
    const start = 1 + slot * ROW
    let place = start
    for (let at = start; at < start + ROW; at += ENTRY) {
      const turn = words[at + 1] ?? 0
      if (words[at] === hash && turn !== 0) {
        place = at
        break
      }
      if (isLater(words[place + 1] ?? 0, turn)) place = at
    }
    words[place] = hash
    words[place + 1] = this.#nextTurn() || this.#nextTurn()
  }

  /** 0 once in 2^32. */
  #nextTurn(): number {
    return (Atomics.add(this.#words, 0, 1) + 1) | 0
  }

  /**
   * How many other adapters had requests on the pod since that one's last: below the number of places, it is loaded.
   * -1: it never had one there (or long ago).
   */
  since(slot: number, adapter: number): number {
    const words = this.#words
    const start = 1 + slot * ROW
    const hash = adapter | 0
    let turn = 0
    for (let at = start; at < start + ROW; at += ENTRY) if (words[at] === hash) turn = words[at + 1] ?? 0
    if (turn === 0) return -1
    let later = 0
    for (let at = start; at < start + ROW; at += ENTRY) if (isLater(words[at + 1] ?? 0, turn)) later++
    return later
  }

  /** Adapters that had requests on the pod. */
  count(slot: number): number {
    const start = 1 + slot * ROW
    let count = 0
    for (let at = start; at < start + ROW; at += ENTRY) if ((this.#words[at + 1] ?? 0) !== 0) count++
    return count
  }

  /** The slot is another pod's from now on. */
  forget(slot: number): void {
    this.#words.fill(0, 1 + slot * ROW, 1 + (slot + 1) * ROW)
    this.tell(slot, undefined, 0)
  }

  /** Requests for adapters so far, over all pods: what is noted from now on has a higher turn. */
  turn(): number {
    return Atomics.load(this.#words, 0)
  }

  /**
   * What the engine says; undefined: it says nothing any more.
   * @param turn `turn()` when it was asked: adapters that came later may be missing there
   */
  tell(slot: number, adapters: EngineAdapters | undefined, turn: number): void {
    const told = this.#told
    const row = slot * TOLD_ROW
    if (adapters === undefined) {
      told[row + PLACES] = 0
      return
    }
    const { running, waiting, max } = adapters
    const counts = Math.min(running.length, MOST_TOLD)
    const countsWaiting = Math.min(waiting.length, MOST_TOLD)
    for (let i = 0; i < counts; i++) told[row + NAMES + i] = hashWord(running[i] ?? '')
    for (let i = 0; i < countsWaiting; i++) told[row + NAMES + counts + i] = hashWord(waiting[i] ?? '')
    told[row + RUNNING] = counts
    told[row + WAITING] = countsWaiting
    told[row + TURN] = turn
    told[row + PLACES] = max
  }

  /**
   * As the Gateway API inference extension's lora-affinity-scorer reads the gauge: running and waiting adapters take a
   * place each. Those sent since the page was asked for take the places that are left, and wait where none is.
   */
  standing(slot: number, adapter: number): Standing {
    const told = this.#told
    const row = slot * TOLD_ROW
    const places = told[row + PLACES] ?? 0
    if (places === 0) return STANDING.untold
    const hash = adapter | 0
    const start = row + NAMES
    const waitingStart = start + (told[row + RUNNING] ?? 0)
    const end = waitingStart + (told[row + WAITING] ?? 0)
    if (holds(told, start, waitingStart, hash)) return STANDING.active
    const isWaiting = holds(told, waitingStart, end, hash)
    const wasSent = this.#sentLater(slot, hash, told[row + TURN] ?? 0)
    const taken = end - start + this.#newcomers(slot, hash, row)
    if (taken < places) return wasSent && !isWaiting ? STANDING.active : STANDING.room
    return wasSent || isWaiting ? STANDING.waiting : STANDING.full
  }

  #sentLater(slot: number, hash: number, turn: number): boolean {
    const words = this.#words
    const start = 1 + slot * ROW
    for (let at = start; at < start + ROW; at += ENTRY)
      if (words[at] === hash && isLater(words[at + 1] ?? 0, turn)) return true
    return false
  }

  /** Other adapters sent since the engine was asked, and that it did not name. */
  #newcomers(slot: number, hash: number, row: number): number {
    const words = this.#words
    const told = this.#told
    const turn = told[row + TURN] ?? 0
    const names = row + NAMES
    const end = names + (told[row + RUNNING] ?? 0) + (told[row + WAITING] ?? 0)
    const start = 1 + slot * ROW
    let count = 0
    for (let at = start; at < start + ROW; at += ENTRY) {
      const other = words[at] ?? 0
      if (isLater(words[at + 1] ?? 0, turn) && other !== hash && !holds(told, names, end, other)) count++
    }
    return count
  }
}

/**
 * Was the one turn after the other? Turns are counted in 32 bits, which at 1,000 requests a second are full after 25
 * days and begin again; 0 is no turn at all, and before all others.
 */
function isLater(turn: number, than: number): boolean {
  if (turn === 0 || than === 0) return turn !== 0
  return ((turn - than) | 0) > 0
}

function holds(words: Int32Array, from: number, to: number, hash: number): boolean {
  for (let at = from; at < to; at++) if (words[at] === hash) return true
  return false
}
