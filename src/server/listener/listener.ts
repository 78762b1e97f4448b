/**
 * The listener: what Phyllo asks of an HTTP/1.1 server, about ten methods in all. Two adapters fill it in,
 * `uws.ts` (uWebSockets.js, default where it loads) and `node.ts` (node:http); the same tests run on both.
 *
 * An `Exchange` is one request and its answer. Its rules, alike for both adapters:
 * - Headers are copied and checked before the handler runs; a request with bad framing never reaches it.
 * - After the client went away every method is a harmless no-op; `onAborted` told so, once.
 * - Whatever an adapter throws away (time-outs, protocol errors) ends in `onAborted` or in an error answer, never in
 *   an uncaught exception: an uncaught throw in a worker takes the whole process with it.
 */

/** Header lines as received: name (lower case), value, name, value, … */
export type HeaderList = readonly string[]

/** Why a body could not be had. */
export type BodyFault = 'too_large' | 'timeout' | 'aborted'

export interface Exchange {
  /** Upper case. */
  readonly method: string
  /** Path without the query, not decoded. */
  readonly path: string
  /** What follows `?`, without it; empty if none. */
  readonly query: string
  readonly headers: HeaderList
  /** The client's address as text. */
  readonly remoteAddress: string
  /** The client has gone, or the answer is complete. */
  readonly closed: boolean

  /** The value of a header (lower-case name), the first one if it comes twice; undefined if absent. */
  header(name: string): string | undefined
  /**
   * Gathers the whole body, at most `cap` bytes, within `timeoutMs`; called at most once, in the handler's own turn.
   * A body is handed over as one Buffer that nobody else writes to. What follows `too_large` is read and thrown away;
   * after `timeout` the connection ends with the answer; `aborted` comes just before `onAborted`.
   */
  readBody(cap: number, timeoutMs: number, done: (body: Buffer | null, fault: BodyFault | null) => void): void
  /** Called once if the client goes away before the answer is complete. */
  onAborted(handler: () => void): void
  /**
   * Status line and headers: name, value, name, value, … The adapter leaves out what it must own (content-length,
   * transfer-encoding, connection, date) and replaces CR, LF and NUL in values, so that no pod can inject a header.
   * Bytes may wait for the first `write` or `end`.
   */
  begin(status: number, headers: HeaderList): void
  /**
   * Sends a piece of the body (chunked). All pieces of one tick go out in one send. False: the client is slow; stop
   * until `onWritable` fires. The piece was taken all the same. The bytes must not be changed afterwards.
   */
  write(chunk: Uint8Array | string): boolean
  /** Called each time the client can take more after a false `write`. */
  onWritable(handler: () => void): void
  /** Ends the answer; with a body and no `write` before, a content-length is sent. */
  end(body?: Uint8Array | string): void
  /** Ends the connection at once, without a well-formed end: a broken stream must look broken to the client. */
  abort(): void
}

export interface ListenerOptions {
  readonly host: string
  /** 0 takes a free port. */
  readonly port: number
  /** Several threads listen on the same port (SO_REUSEPORT). */
  readonly shared: boolean
  /** Bytes of a request's header section; more is 431. */
  readonly maxHeaderBytes: number
  /** Hears what handlers and their callbacks throw, once each; the client has had its 500 or a broken connection. */
  readonly onError?: (error: unknown) => void
}

/** Runs for every well-framed request; must answer or `abort` each exchange eventually. Errors it throws become a 500. */
export type Handler = (exchange: Exchange) => void

export interface Listener {
  /** Resolves with the port once connections are accepted. */
  listen(): Promise<number>
  /** No new connections; exchanges under way go on, and idle keep-alive connections are closed. */
  stopAccepting(): void
  /** Ends everything at once. */
  close(): Promise<void>
  /** Exchanges not yet complete. */
  readonly inFlight: number
}

export interface ListenerFactory {
  readonly name: 'uws' | 'node'
  /** Whether several threads can listen on one port (`shared`); if not, the server runs one worker. */
  readonly canShare: boolean
  create(options: ListenerOptions, handler: Handler): Listener
}
