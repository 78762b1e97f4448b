/**
 * How many bytes of request bodies wait for the thread pool or are on it, over all workers. libuv has one pool for the
 * whole process and an endless queue before it: without a bound, a burst of long prompts would hold ever more memory
 * and answer ever later.
 *
 * Each worker writes a number of its own in shared memory, and reads all of them. Two that let a body in at the same
 * moment may pass the bound by one body each, which costs less than a lock would.
 */

/** What a worker needs to find its number. */
export interface PrepareQueueHandle {
  readonly memory: SharedArrayBuffer
  /** Most bytes that may wait; a body beyond it waits only alone. */
  readonly limitBytes: number
}

/** A queue that so many threads can use. */
export function createPrepareQueue(rows: number, limitBytes: number): PrepareQueueHandle {
  return { memory: new SharedArrayBuffer(rows * Float64Array.BYTES_PER_ELEMENT), limitBytes }
}

/** Bytes that wait, over all threads. */
export function queuedBytes({ memory }: PrepareQueueHandle): number {
  return new Float64Array(memory).reduce((sum, bytes) => sum + bytes, 0)
}

/** One thread's access. */
export class PrepareQueue {
  readonly limitBytes: number
  readonly #rows: Float64Array
  readonly #row: number

  constructor({ memory, limitBytes }: PrepareQueueHandle, row: number) {
    this.limitBytes = limitBytes
    this.#rows = new Float64Array(memory)
    this.#row = row
    // What a worker that died had waiting is gone with it.
    this.#rows[row] = 0
  }

  /** Counts a body in; false where too much waits already. What was let in must `leave` again, however it ends. */
  enter(bytes: number): boolean {
    let waiting = 0
    for (const row of this.#rows) waiting += row
    // A body that is larger than the bound would otherwise never have its turn.
    if (waiting > 0 && waiting + bytes > this.limitBytes) return false
    this.#add(bytes)
    return true
  }

  leave(bytes: number): void {
    this.#add(-bytes)
  }

  #add(bytes: number): void {
    this.#rows[this.#row] = (this.#rows[this.#row] ?? 0) + bytes
  }
}
