/**
 * Where an answer goes: the few methods that execution needs of an HTTP exchange. The server's `Exchange` satisfies it
 * without knowing of it, so execution never imports from the server.
 */
import type { PhylloError } from '../errors.js'

export interface ClientSink {
  /** The client has gone, or the answer is complete. Every method is then a harmless no-op. */
  readonly closed: boolean
  /** Called once if the client goes away before the answer is complete. */
  onAborted(handler: () => void): void
  /**
   * Status line and headers: name, value, name, value, … The sink owns the framing (content-length,
   * transfer-encoding, connection, date) and may hold these bytes back until the first `write` or `end`.
   */
  begin(status: number, headers: readonly string[]): void
  /** Takes a piece in any case. False: the client is slow; stop until `onWritable` fires. */
  write(chunk: Uint8Array | string): boolean
  /** Called each time the client can take more after a false `write`. */
  onWritable(handler: () => void): void
  /** Ends the answer; with a body and no `write` before it is one send with a content-length. */
  end(body?: Uint8Array | string): void
  /** A pod broke off in the middle of a stream. True: another one goes on with it. Absent: none does. */
  broken?(error: PhylloError): boolean
  /** Ends the connection without a well-formed end, so that a broken answer looks broken to the client. */
  abort(): void
}
