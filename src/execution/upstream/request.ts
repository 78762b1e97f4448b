/**
 * One request on its way to a pod: undici's handler and ours in one object.
 *
 * It has the methods of undici's first handler interface (`onConnect`, `onHeaders`, `onData`, …): undici passes that
 * one through as it is, with raw headers, whereas a handler of the newer interface is wrapped in another object that
 * parses every header list into an object (lib/handler/unwrap-handler.js), which the relay would undo again.
 */
import type { Dispatcher } from 'undici'
import { PhylloError, toPhylloError } from '../../errors.js'
import type { Watchdog, Watched } from '../watchdog.js'
import { type Progress, upstreamFault } from './faults.js'
import type { UpstreamHandler } from './handler.js'

/** What the requests of one client share. */
export interface UpstreamShared {
  readonly watchdog: Watchdog
  readonly firstByteTicks: number
  readonly idleTicks: number
}

/** What a request must know of the connection that it goes over. */
export interface Carrier {
  current: UpstreamRequest | undefined
  requests: number
}

/**
 * Most bytes of an unwanted answer that are read to keep its connection for the next request; error bodies are a few
 * hundred. A longer one costs more than the handshake of a new connection.
 */
const DISCARD_BYTES = 65_536
/**
 * Longest that is waited for the rest of one, which saves a handshake of a millisecond or less. What comes as the error it
 * is comes in milliseconds; a prefill that nobody waits for any longer may take a minute, and holds a connection and a
 * place in the pod's queue meanwhile.
 */
const DISCARD_MS = 1000

/** Given to undici when a request is given up; nobody reads it, so one is enough. */
export const abandoned = new Error('the request was given up')

export class UpstreamRequest implements Dispatcher.DispatchHandler, Watched {
  /** The connection; known once undici has chosen it. */
  via: Carrier | undefined
  readonly #shared: UpstreamShared
  readonly #podId: string
  readonly #handler: UpstreamHandler
  #abort: ((error?: Error) => void) | undefined
  #resume: (() => void) | undefined
  #progress: Progress = 'waiting'
  #quietSince: number
  #opening = true
  /** Ended, one way or another: nothing more comes of it. */
  over = false
  #paused = false
  /** The connection is ending: what is left of the answer is taken without a pause. */
  #flushing = false
  #reused = false
  #started = false
  /** Bytes of a discarded answer still read; -1: it is not discarded. */
  #discard = -1
  /** Tick after which it is not waited for any longer. */
  #lastTick = Number.POSITIVE_INFINITY

  constructor(shared: UpstreamShared, podId: string, handler: UpstreamHandler) {
    this.#shared = shared
    this.#podId = podId
    this.#handler = handler
    this.#quietSince = shared.watchdog.tick
    shared.watchdog.add(this)
  }

  /** Called by the client when undici has taken the request; from now on the handler is called directly. */
  opened(): void {
    this.#opening = false
  }

  /** Closes the request's connection at once; no further calls to the handler. */
  abort(): void {
    if (this.over) return
    this.#finish()
    // Before onConnect there is no connection of ours: undici gets its answer there.
    this.#abort?.(abandoned)
  }

  /** No further calls to the handler; a short rest of the answer that comes soon is read away to keep the connection. */
  discard(): void {
    if (this.over) return
    this.#discard = DISCARD_BYTES
    const { watchdog } = this.#shared
    this.#lastTick = watchdog.tick + watchdog.ticks(DISCARD_MS)
    this.resume()
  }

  /** Goes on after `onChunk` answered false. */
  resume(): void {
    if (this.over || !this.#paused) return
    this.#paused = false
    this.#quietSince = this.#shared.watchdog.tick
    this.#resume?.()
  }

  /** Called when the connection is about to end: whatever of the answer is there already comes now. */
  flush(): void {
    this.#flushing = true
    this.resume()
  }

  check(tick: number): void {
    if (tick > this.#lastTick) return this.abort()
    if (this.#paused) return
    const { firstByteTicks, idleTicks } = this.#shared
    const limit = this.#progress === 'answering' ? idleTicks : firstByteTicks
    // One tick more, since the current one had begun when the silence did.
    if (tick - this.#quietSince <= limit) return
    const what =
      this.#progress === 'answering' ? 'stopped in the middle of its answer' : 'did not answer in time'
    this.#fail(new PhylloError('pod_timeout', `pod ${this.#podId} ${what}`), false)
    this.#abort?.(abandoned)
  }

  // undici's side

  onConnect(abort: (error?: Error) => void): void {
    // Thrown, it fails the request before a byte is written and leaves the connection to others.
    if (this.over) throw abandoned
    this.#abort = abort
    if (this.via !== undefined) {
      this.via.current = this
      this.#reused = this.via.requests++ > 0
    }
    this.#progress = 'sent'
    this.#quietSince = this.#shared.watchdog.tick
  }

  onResponseStarted(): void {
    this.#started = true
  }

  onHeaders(status: number, headers: Buffer[], resume: () => void): boolean {
    if (status < 200 || this.over || this.#discard >= 0) return true
    this.#resume = resume
    this.#handler.onHead(status, headers)
    return true
  }

  onData(chunk: Buffer): boolean {
    // Parsers that were paused start again with an empty piece. Written on, it could end a chunked body.
    if (this.over || chunk.length === 0) return true
    this.#progress = 'answering'
    this.#quietSince = this.#shared.watchdog.tick
    if (this.#discard >= 0) return this.#readAway(chunk)
    // Set before the call: a sink that has room again within it then finds something to resume.
    this.#paused = true
    const more = this.#handler.onChunk(chunk)
    if (more) this.#paused = false
    return this.#flushing || !this.#paused
  }

  onComplete(): void {
    if (this.over) return
    this.#finish()
    if (this.#discard >= 0) return
    try {
      this.#handler.onEnd()
    } catch (error) {
      // Undici would tell `onError`, which no longer listens: the request would wait for ever.
      this.#handler.onFault(toPhylloError(error), false)
    }
  }

  onError(error: Error): void {
    if (this.over) return
    const stale = this.#reused && !this.#started
    const fault = upstreamFault(error, this.#progress, this.#podId)
    if (this.#opening) queueMicrotask(() => this.#fail(fault, false))
    else this.#fail(fault, stale && fault.code === 'pod_closed_early')
  }

  #readAway(chunk: Buffer): boolean {
    this.#discard -= chunk.length
    if (this.#discard < 0) {
      this.#finish()
      this.#abort?.(abandoned)
    }
    return true
  }

  #fail(fault: PhylloError, stale: boolean): void {
    if (this.over) return
    this.#finish()
    if (this.#discard >= 0) return
    try {
      this.#handler.onFault(fault, stale)
    } catch (error) {
      // Nobody above catches here, and an uncaught error in a worker ends the process: the request ends as a bug.
      this.#handler.onFault(toPhylloError(error), false)
    }
  }

  #finish(): void {
    this.over = true
    this.#shared.watchdog.delete(this)
    if (this.via?.current === this) this.via.current = undefined
  }
}
