/**
 * What an exchange is on either adapter: the order of begin, write and end; the pieces of one tick gathered into one
 * send; backpressure; and that nothing a handler throws leaves the adapter. An adapter supplies the few methods that
 * touch its server.
 */
import { toPhylloError } from '../../errors.js'
import { answerError } from '../../execution/error-answer.js'
import { requestId } from '../request-id.js'
import type { BodyFault, Exchange, HeaderList } from './listener.js'
import { type Piece, PieceQueue, SEND_BYTES } from './pieces.js'
import { flushAtTickEnd } from './tick.js'

export type BodyDone = (body: Buffer | null, fault: BodyFault | null) => void

/** Milliseconds a client may take nothing while bytes wait for it; then it is cut, or it would hold its pod for ever. */
export const STALL_LIMIT_MS = 300_000

/** The listener, as its exchanges see it. */
export interface ExchangeOwner {
  /** The exchange is over, with or without an answer; called once. */
  finished(): void
  /** A handler or one of its callbacks threw. */
  failed(error: unknown): void
  /** Asks for a `refresh` every few seconds: bytes wait for a slow client, or a slow body is coming in. */
  watch(exchange: BaseExchange): void
  unwatch(exchange: BaseExchange): void
  /** Connections end with their present answer. */
  readonly isDraining: boolean
}

export abstract class BaseExchange implements Exchange {
  closed = false
  abstract readonly method: string
  abstract readonly path: string
  abstract readonly query: string
  abstract readonly headers: HeaderList
  abstract readonly remoteAddress: string

  /** 0 until `begin`. */
  protected status = 0
  protected answer: HeaderList = []
  /** The status line has gone to the server; nothing can be taken back. */
  protected headSent = false
  protected readonly queue = new PieceQueue()
  /** `end` was called. */
  protected ending = false
  /** The Content-Length that a HEAD answer reports; -1 if unknown. */
  protected headLength = -1
  /** When the server said that the client is slow; 0 while it is not. */
  private stalledAt = 0
  private isUploading = false
  private bodyDone: BodyDone | null = null
  private abortHandler: (() => void) | null = null
  private writableHandler: (() => void) | null = null
  /** A `write` answered false and `onWritable` has not fired since. */
  private owesWritable = false
  private isDirty = false

  constructor(protected readonly owner: ExchangeOwner) {}

  /** Hands waiting pieces to the server until none is left or the client is slow (calls `stall`). */
  protected abstract flush(): void
  /** Hands over what is left and the end, and calls `complete`; unless the client is slow. */
  protected abstract finish(): void
  /** Starts to collect the body and calls `deliver` once. */
  protected abstract startBody(cap: number, timeoutMs: number): void
  protected abstract dropConnection(): void
  /** Keeps a slow but living connection from the server's own time-outs. */
  protected abstract keepAlive(): void

  header(name: string): string | undefined {
    const headers = this.headers
    for (let i = 0; i < headers.length; i += 2) if (headers[i] === name) return headers[i + 1]
    return undefined
  }

  readBody(cap: number, timeoutMs: number, done: BodyDone): void {
    if (this.closed) return
    this.bodyDone = done
    this.startBody(cap, timeoutMs)
  }

  onAborted(handler: () => void): void {
    this.abortHandler = handler
  }

  onWritable(handler: () => void): void {
    this.writableHandler = handler
  }

  begin(status: number, headers: HeaderList): void {
    if (this.closed) return
    if (this.status !== 0) throw new Error('begin was called twice')
    this.status = status
    this.answer = headers
  }

  write(chunk: Piece): boolean {
    if (this.closed || this.ending || chunk.length === 0) return true
    if (this.status === 0) throw new Error('write was called before begin')
    if (this.hasNoBody) return true
    this.queue.push(chunk)
    if (!this.isStalled) {
      if (this.queue.size < SEND_BYTES) {
        if (!this.isDirty) {
          this.isDirty = true
          flushAtTickEnd(this)
        }
        return true
      }
      this.flush()
      if (!this.isStalled) return true
    }
    this.owesWritable = true
    return false
  }

  end(body?: Piece): void {
    if (this.closed || this.ending) return
    if (this.status === 0) throw new Error('end was called before begin')
    if (body !== undefined) {
      if (!this.hasNoBody) this.queue.push(body)
      else if (this.method === 'HEAD') this.headLength = Buffer.byteLength(body)
    }
    this.ending = true
    if (!this.isStalled) this.finish()
  }

  abort(): void {
    if (this.closed) return
    this.complete()
    this.dropConnection()
  }

  /** For the listener, every few seconds while watched; `now` in ms of `performance.now()`. */
  refresh(now: number): void {
    if (!this.isStalled || now - this.stalledAt < STALL_LIMIT_MS) {
      this.keepAlive()
    } else {
      this.lost()
      this.dropConnection()
    }
  }

  /** An error of the handler's: a 500 while nothing was sent, else a broken connection. */
  fail(error: unknown): void {
    this.owner.failed(error)
    if (this.closed) return
    if (this.headSent || this.ending) {
      this.abort()
      return
    }
    this.status = 0
    this.queue.clear()
    answerError(this, toPhylloError(error), { requestId: requestId(this.header('x-request-id')) })
  }

  protected get hasNoBody(): boolean {
    return this.method === 'HEAD' || this.status === 204 || this.status === 304
  }

  protected get isStalled(): boolean {
    return this.stalledAt !== 0
  }

  protected stall(): void {
    if (this.isStalled) return
    this.stalledAt = performance.now()
    this.owner.watch(this)
  }

  /** A body is coming in, in more than one piece. */
  protected uploads(isUploading: boolean): void {
    this.isUploading = isUploading
    if (isUploading) this.owner.watch(this)
    else if (!this.isStalled) this.owner.unwatch(this)
  }

  /** The body was delivered, or the exchange is over: what still comes in is thrown away. */
  protected get bodyIsOver(): boolean {
    return this.bodyDone === null
  }

  /** The server can take more: what waits goes first, then the end, then the handler's next pieces. */
  protected drained(): void {
    if (this.closed) return
    if (this.isStalled) {
      this.stalledAt = 0
      if (!this.isUploading) this.owner.unwatch(this)
    }
    if (this.ending) {
      this.finish()
      return
    }
    if (!this.queue.isEmpty) this.flush()
    if (this.isStalled || !this.owesWritable) return
    this.owesWritable = false
    if (this.writableHandler !== null) this.run(this.writableHandler)
  }

  /** The client has gone: tells whoever waits for it, the body's reader first. */
  protected lost(): void {
    if (this.closed) return
    const { abortHandler, bodyDone } = this
    this.complete()
    if (bodyDone !== null) this.run(() => bodyDone(null, 'aborted'))
    if (abortHandler !== null) this.run(abortHandler)
  }

  /** The exchange is over; from here on every method is a no-op. */
  protected complete(): void {
    this.closed = true
    this.owner.unwatch(this)
    this.queue.clear()
    this.bodyDone = null
    this.abortHandler = null
    this.writableHandler = null
    this.leave()
  }

  /** Counts the exchange out. */
  protected leave(): void {
    this.owner.finished()
  }

  /** Gives the body or its fault to the handler, once. */
  protected deliver(body: Buffer | null, fault: BodyFault | null): void {
    const done = this.bodyDone
    if (done === null) return
    this.bodyDone = null
    try {
      done(body, fault)
    } catch (error) {
      this.fail(error)
    }
  }

  private run(callback: () => void): void {
    try {
      callback()
    } catch (error) {
      this.fail(error)
    }
  }

  /** The tick is over. `fail` here means that the server itself threw; the connection is then beyond repair. */
  flushTick(): void {
    this.isDirty = false
    if (this.closed || this.isStalled || this.queue.isEmpty) return
    try {
      this.flush()
    } catch (error) {
      this.fail(error)
    }
  }
}
