/**
 * zeromq.js aborts a process (`terminate called after throwing an instance of 'Napi::Error'`, exit 134) that ends while
 * one of its worker threads has a socket on which it awaits a message: `process.exit`, or an error that nobody caught.
 * So whoever has such a thread has its sockets closed first.
 */
const waiting = new Set<() => void>()
let isListening = false

/** Calls it when the process is about to end, unless the function that is answered was called before. It must not wait for a promise. */
export function beforeExit(close: () => void): () => void {
  if (!isListening) {
    isListening = true
    process.on('exit', () => {
      for (const each of waiting) each()
    })
  }
  waiting.add(close)
  return () => waiting.delete(close)
}

/** Whether a thread has sockets: 1 number in memory that it shares with the one that started it. */
export class OpenSockets {
  readonly #flag: Int32Array

  constructor(readonly memory = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT)) {
    this.#flag = new Int32Array(memory)
  }

  /** By the thread, before it opens the first. */
  opened(): void {
    Atomics.store(this.#flag, 0, 1)
  }

  /** By the thread, when the last is closed. */
  closed(): void {
    Atomics.store(this.#flag, 0, 0)
    Atomics.notify(this.#flag, 0)
  }

  /** By the other, without an event loop: until all are closed, or for so many milliseconds. */
  waitClosed(ms: number): void {
    Atomics.wait(this.#flag, 0, 1, ms)
  }
}
