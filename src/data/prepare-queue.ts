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
  /** Most bodies of one worker on the pool at a time. */
  readonly concurrent: number
}

/** A queue that so many threads can use. */
export function createPrepareQueue(rows: number, limitBytes: number, concurrent: number): PrepareQueueHandle {
  const memory = new SharedArrayBuffer(rows * Float64Array.BYTES_PER_ELEMENT)
  return { memory, limitBytes, concurrent }
}

/** libuv's threads, where the environment does not say otherwise. */
const POOL_THREADS = 4

function poolThreads(): number {
  const { UV_THREADPOOL_SIZE: wanted } = process.env
  return Number(wanted) || POOL_THREADS
}

/**
 * How many bodies of each worker may be on the pool at a time: its share of the cores that event loops leave. On two
 * cores with one worker, four pool threads kept the loop waiting for a core; one at a time more than halves the delay.
 * One of the pool's threads is left to what else needs the pool, looking up host names for one; where there are more
 * workers than that, each still has its one.
 */
export function concurrentPrepares(cores: number, workers: number, threads = poolThreads()): number {
  const free = Math.min(cores - workers, threads - 1)
  return Math.max(1, Math.floor(free / workers))
}

/** Bytes that wait, over all threads. */
export function queuedBytes({ memory }: PrepareQueueHandle): number {
  return new Float64Array(memory).reduce((sum, bytes) => sum + bytes, 0)
}

/** What a thread that died had waiting is gone with it. */
export function forgetQueued({ memory }: PrepareQueueHandle, row: number): void {
  new Float64Array(memory)[row] = 0
}

/** One thread's access. */
export class PrepareQueue {
  readonly limitBytes: number
  readonly #rows: Float64Array
  readonly #row: number
  readonly #concurrent: number
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor({ memory, limitBytes, concurrent }: PrepareQueueHandle, row: number) {
    this.limitBytes = limitBytes
    this.#concurrent = concurrent
    this.#rows = new Float64Array(memory)
    this.#row = row
  }

  /** Does a body's work when its turn comes, first come, first served; undefined where too much waits already. */
  run<T>(bytes: number, work: () => Promise<T>): Promise<T> | undefined {
    let queued = 0
    for (const row of this.#rows) queued += row
    // A body that is larger than the bound would otherwise never have its turn.
    if (queued > 0 && queued + bytes > this.limitBytes) return undefined
    this.#add(bytes)
    return this.#inTurn(bytes, work)
  }

  async #inTurn<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    if (this.#running < this.#concurrent) this.#running++
    else await new Promise<void>(resolve => this.#waiting.push(resolve))
    try {
      return await work()
    } finally {
      this.#add(-bytes)
      const next = this.#waiting.shift()
      // Whoever is next takes the place over.
      if (next === undefined) this.#running--
      else next()
    }
  }

  #add(bytes: number): void {
    this.#rows[this.#row] = (this.#rows[this.#row] ?? 0) + bytes
  }
}
