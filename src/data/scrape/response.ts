/**
 * Reads one HTTP/1.1 answer after the other from a connection's bytes: just what a metrics page needs, without a parser
 * of headers into objects. Framing is strict: whatever is not understood ends the connection, never the process.
 */

/** What the head of an answer says. */
export interface Head {
  readonly status: number
  /** Lower case, empty if there is none. */
  readonly contentEncoding: string
  readonly location: string
  /** Whether the connection can carry another request. */
  readonly keepAlive: boolean
}

export interface ResponseSink {
  /** A text: why the answer is not wanted, which ends the connection. */
  onHead(head: Head): string | undefined
  /** Bytes of the body, valid during the call. */
  onBody(bytes: Buffer, from: number, to: number): void
  onEnd(keepAlive: boolean): void
  onFault(reason: string): void
}

/** As undici's limit; engines send under 1 KiB. */
const HEAD_BYTES = 16_384
/** A chunk's size in hexadecimal and its extensions. */
const CHUNK_LINE_BYTES = 256
const START = 'HTTP/1.'
const NEWLINE = 0x0a

type State =
  | 'idle'
  | 'dead'
  | 'head'
  | 'sized'
  | 'to-the-end'
  | 'chunk-line'
  | 'chunk'
  | 'chunk-end'
  | 'trailers'

export class ResponseReader {
  #state: State = 'idle'
  /** A head or a chunk's line that is not complete yet. */
  #text = ''
  /** Bytes of the body, or of its present chunk, still to come. */
  #left = 0
  #read = 0
  #keepAlive = true

  constructor(
    private readonly sink: ResponseSink,
    private readonly mostBytes: number,
  ) {}

  /** An answer is awaited. */
  begin(): void {
    this.#state = 'head'
    this.#text = ''
    this.#read = 0
  }

  /** Not one byte of the awaited answer has come. */
  get untouched(): boolean {
    return this.#state === 'head' && this.#text === ''
  }

  /** Bytes that came: up to `to` of a buffer that is used again after the call. */
  feed(bytes: Buffer, to: number): void {
    let at = 0
    while (at < to) at = this.#step(bytes, at, to)
  }

  /** The other side has closed. Answers whether that was the answer's end. */
  closed(): boolean {
    const whole = this.#state === 'to-the-end'
    if (whole) this.#end(false)
    this.#state = 'dead'
    return whole
  }

  #step(bytes: Buffer, at: number, to: number): number {
    switch (this.#state) {
      case 'dead':
        return to
      case 'idle':
        // Sent without being asked: the next answer would be taken for what it is not.
        this.#fail('sent more than one answer')
        return to
      case 'head':
        return this.#head(bytes, at, to)
      case 'sized':
        return this.#body(bytes, at, Math.min(to, at + this.#left))
      case 'to-the-end':
        return this.#body(bytes, at, to)
      case 'chunk':
        return this.#body(bytes, at, Math.min(to, at + this.#left))
      default:
        return this.#chunkLine(bytes, at, to)
    }
  }

  #head(bytes: Buffer, at: number, to: number): number {
    // Latin-1, byte by character, so that a place in the text is a place in the bytes.
    const before = this.#text.length
    this.#text += bytes.toString('latin1', at, Math.min(to, at + HEAD_BYTES))
    const end = this.#text.indexOf('\r\n\r\n')
    if (!this.#text.startsWith(START.slice(0, this.#text.length))) {
      this.#fail('did not answer in HTTP/1.1')
      return to
    }
    if (end < 0) {
      if (this.#text.length >= HEAD_BYTES) this.#fail('sent a head without an end')
      return to
    }
    const text = this.#text.slice(0, end + 2)
    this.#text = ''
    this.#begin(text)
    return at + end + 4 - before
  }

  #begin(text: string): void {
    const line = /^HTTP\/1\.([01]) (\d{3})[ \r]/.exec(text)
    if (line === null) return this.#fail('did not answer in HTTP/1.1')
    const status = Number(line[2])
    // 100 Continue and the like: the answer itself follows.
    if (status < 200) return
    const header = headersOf(text)
    const connection = header('connection').toLowerCase()
    this.#keepAlive = line[1] === '1' ? connection !== 'close' : connection === 'keep-alive'
    const contentEncoding = header('content-encoding').toLowerCase()
    const location = header('location')
    const refused = this.sink.onHead({ status, contentEncoding, location, keepAlive: this.#keepAlive })
    if (refused !== undefined) return this.#fail(refused)
    this.#frame(header('transfer-encoding'), header('content-length'))
  }

  #frame(transferEncoding: string, length: string): void {
    if (transferEncoding !== '') {
      this.#state = 'chunk-line'
      return
    }
    if (length === '') {
      this.#keepAlive = false
      this.#state = 'to-the-end'
      return
    }
    if (!/^\d{1,15}$/.test(length)) return this.#fail(`sent a content-length of '${length.slice(0, 32)}'`)
    this.#left = Number(length)
    if (this.#left > this.mostBytes) return this.#tooLong()
    this.#state = 'sized'
    if (this.#left === 0) this.#end(this.#keepAlive)
  }

  #body(bytes: Buffer, from: number, to: number): number {
    this.#read += to - from
    if (this.#read > this.mostBytes) {
      this.#tooLong()
      return to
    }
    this.sink.onBody(bytes, from, to)
    if (this.#state === 'to-the-end') return to
    this.#left -= to - from
    if (this.#left > 0) return to
    if (this.#state === 'sized') this.#end(this.#keepAlive)
    else if (this.#state === 'chunk') this.#state = 'chunk-end'
    return to
  }

  /** The line before a chunk, the empty one behind it, and the trailers. */
  #chunkLine(bytes: Buffer, at: number, to: number): number {
    const newline = bytes.indexOf(NEWLINE, at)
    const whole = newline >= 0 && newline < to
    const end = whole ? newline + 1 : to
    this.#text += bytes.toString('latin1', at, Math.min(end, at + CHUNK_LINE_BYTES))
    if (this.#text.length >= CHUNK_LINE_BYTES) {
      this.#fail('sent a chunk without a size')
      return to
    }
    if (!whole) return to
    const line = this.#text.trimEnd()
    this.#text = ''
    this.#chunkLineRead(line)
    return end
  }

  #chunkLineRead(line: string): void {
    if (this.#state === 'trailers') {
      if (line === '') this.#end(this.#keepAlive)
      return
    }
    if (this.#state === 'chunk-end') {
      if (line !== '') return this.#fail('sent more than its chunk holds')
      this.#state = 'chunk-line'
      return
    }
    const size = /^([0-9a-f]{1,8})[ \t]*(?:;|$)/i.exec(line)?.[1]
    if (size === undefined) return this.#fail('sent a chunk without a size')
    this.#left = Number.parseInt(size, 16)
    this.#state = this.#left === 0 ? 'trailers' : 'chunk'
  }

  #tooLong(): void {
    this.#fail(`sent more than ${this.mostBytes / 2 ** 20} MiB`)
  }

  #end(keepAlive: boolean): void {
    this.#state = 'idle'
    this.sink.onEnd(keepAlive)
  }

  #fail(reason: string): void {
    this.#state = 'dead'
    this.#text = ''
    this.sink.onFault(reason)
  }
}

/** Looks up headers by their lower-case name; empty if there is none. */
function headersOf(text: string): (name: string) => string {
  const lower = text.toLowerCase()
  return name => {
    const at = lower.indexOf(`\r\n${name}:`)
    if (at < 0) return ''
    const from = at + name.length + 3
    return text.slice(from, text.indexOf('\r\n', from)).trim()
  }
}
