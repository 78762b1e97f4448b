/**
 * Relays a pod's answer to the client: head, pieces as they come, end. Nothing is buffered: a slow client pauses the
 * pod. Status and headers go out with the first byte of the body, not before: until then the request may still go to
 * another pod, and engines send the head of a stream long before its first token.
 */
import type { PhylloError } from '../errors.js'
import type { AnswerReader } from './answer-reader.js'
import { errorEvent } from './error-answer.js'
import { relayedHeaders } from './headers.js'
import type { ResponseIdScanner } from './response-id.js'
import type { ClientSink } from './sink.js'

/** What can be paused and resumed. */
interface Source {
  resume(): void
}

export class Relay {
  /** Something went to the client: no other pod can take over. */
  begun = false
  /** Body bytes relayed. */
  bytes = 0
  /** Reads along, if there is anything to learn from the answer. */
  reader: AnswerReader | undefined
  /** A stream of server-sent events in plain text. */
  readonly events: boolean
  /** Compressed or otherwise encoded. */
  readonly encoded: boolean
  readonly #headers: string[]
  readonly #contentLength: number
  #held: Buffer | undefined
  #listening = false

  constructor(
    private readonly sink: ClientSink,
    private readonly source: Source,
    readonly status: number,
    raw: readonly Buffer[],
    podId: string,
    requestId: string,
    private readonly scanner: ResponseIdScanner | undefined,
  ) {
    const head = relayedHeaders(raw)
    head.headers.push('x-phyllo-pod', podId, 'x-request-id', requestId)
    this.#headers = head.headers
    this.#contentLength = head.contentLength
    this.events = head.events
    this.encoded = head.encoded
  }

  /** False: the client is slow; the source is resumed when it can take more. */
  chunk(chunk: Buffer): boolean {
    this.bytes += chunk.length
    this.scanner?.feed(chunk)
    this.reader?.feed(chunk)
    if (!this.begun) {
      this.begun = true
      this.sink.begin(this.status, this.#headers)
      // The whole body in one piece: `end` follows in this very turn, and one send carries all of it.
      if (chunk.length === this.#contentLength) {
        this.#held = chunk
        return true
      }
    }
    if (this.sink.write(chunk)) return true
    if (!this.#listening) {
      this.#listening = true
      this.sink.onWritable(() => this.source.resume())
    }
    return false
  }

  end(): void {
    if (!this.begun) {
      this.begun = true
      this.sink.begin(this.status, this.#headers)
    }
    this.sink.end(this.#held)
  }

  /**
   * The pod can't complete the answer. A stream of events ends with an event that says so, unless another pod goes on
   * with it; anything else is cut off, so that the client sees a broken body. Never a silent truncation.
   */
  fail(error: PhylloError): void {
    if (!this.events) {
      this.sink.abort()
      return
    }
    if (this.sink.broken?.(error) === true) return
    this.sink.write(errorEvent(error))
    this.sink.end()
  }
}
