/**
 * Which LoRA adapters each pod has had requests for last, over all threads. An engine keeps as many adapters loaded as
 * it has places for (vLLM's --max-loras) and drops the least recently used, so this tells what is loaded there.
 */
export interface AdapterHandle {
  readonly memory: SharedArrayBuffer
  readonly width: number
}

/** Adapters remembered a pod: more than an engine's places, which take GPU memory (vLLM has 1 unless told). */
export const ADAPTERS = 32
/** An adapter's hash, and when it had its last request, in turns. */
const ENTRY = 2
const ROW = ADAPTERS * ENTRY

export const createAdapterMemory = (width: number): AdapterHandle => ({
  memory: new SharedArrayBuffer((1 + width * ROW) * Int32Array.BYTES_PER_ELEMENT),
  width,
})

/** What decisions read and note of adapters. */
export interface Adapters {
  used(slot: number, adapter: number): void
  since(slot: number, adapter: number): number
  count(slot: number): number
}

/** One thread's access. Two threads that note adapters on one pod at once may lose one of them, until its next request. */
export class AdapterTable implements Adapters {
  readonly #words: Int32Array

  constructor({ memory }: AdapterHandle) {
    this.#words = new Int32Array(memory)
  }

  /** The pod got a request for that adapter; the least recently used one makes way for a new one. */
  used(slot: number, adapter: number): void {
    const words = this.#words
    const hash = adapter | 0
    const start = 1 + slot * ROW
    let place = start
    for (let at = start; at < start + ROW; at += ENTRY) {
      if (words[at] === hash && (words[at + 1] ?? 0) > 0) {
        place = at
        break
      }
      if ((words[at + 1] ?? 0) < (words[place + 1] ?? 0)) place = at
    }
    words[place] = hash
    words[place + 1] = Atomics.add(words, 0, 1) + 1
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
    for (let at = start; at < start + ROW; at += ENTRY) if ((words[at + 1] ?? 0) > turn) later++
    return later
  }

  /** Adapters that had requests on the pod. */
  count(slot: number): number {
    const start = 1 + slot * ROW
    let count = 0
    for (let at = start; at < start + ROW; at += ENTRY) if ((this.#words[at + 1] ?? 0) > 0) count++
    return count
  }
}
