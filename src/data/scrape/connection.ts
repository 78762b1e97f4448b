/**
 * One keep-alive connection to an engine, for its metrics page. On bare sockets, because a page of 60 KB costs undici
 * 100 µs of CPU more than this (see bench/README.md), which is most of what a scrape may cost.
 */
import { connect, type OnReadOpts, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { type Head, ResponseReader } from './response.js'

/** Takes an answer. One of `onEnd` and `onFault` comes last, unless the connection is destroyed before. */
export interface PageSink {
  /** Bytes of the page, valid during the call. */
  onBody(bytes: Buffer, from: number, to: number): void
  onEnd(): void
  /** What went wrong, as the rest of a sentence that begins with the pod. */
  onFault(fault: ScrapeFault): void
  /** The connection was closed: what answers next may be another process. */
  onClosed(): void
}

export interface ScrapeFault {
  /** `page`: there is an answer, but not the one asked for; `connection`: there is none. */
  readonly kind: 'connection' | 'page'
  readonly reason: string
}

/** What the scraper needs of a connection. */
export interface PageSource {
  /** Sends a request; never a second one before the first has ended. */
  get(path: string): void
  destroy(): void
}

/**
 * Most bytes of a page. The largest real one seen has 84 KB, and each further data-parallel rank adds 9 KB to vLLM's: 64
 * ranks are 0.6 MB.
 */
export const PAGE_BYTES = 4 * 2 ** 20

/**
 * All connections read into one buffer, which is free again when the callback returns: libuv fills it just before the
 * callback, for one socket at a time (Windows, which fills buffers ahead of time, is not supported). As long as a page
 * comes in one piece, it is not copied.
 */
const READ_BYTES = 256 * 1024
let shared: Buffer | undefined

export class Connection implements PageSource {
  readonly #url: URL
  readonly #reader: ResponseReader
  #socket: Socket | undefined
  #request = ''
  /** Requests sent over the present socket. */
  #requests = 0
  #busy = false

  constructor(
    origin: string,
    private readonly sink: PageSink,
  ) {
    this.#url = new URL(origin)
    this.#reader = new ResponseReader(
      {
        onHead: judge,
        onBody: (bytes, from, to) => sink.onBody(bytes, from, to),
        onEnd: keepAlive => this.#ended(keepAlive),
        onFault: reason => this.#failed({ kind: 'page', reason }),
      },
      PAGE_BYTES,
    )
  }

  get(path: string): void {
    // No compression: it would cost the engine more CPU time than the bytes are worth, and the router as much again.
    this.#request = `GET ${path} HTTP/1.1\r\nhost: ${this.#url.host}\r\naccept: text/plain\r\naccept-encoding: identity\r\n\r\n`
    this.#busy = true
    this.#send()
  }

  destroy(): void {
    this.#busy = false
    this.#drop()
  }

  #send(): void {
    this.#socket ??= this.#open()
    this.#requests++
    this.#reader.begin()
    this.#socket.write(this.#request, 'latin1')
  }

  #open(): Socket {
    const { protocol, port } = this.#url
    // URL puts an IPv6 address into brackets.
    const host = this.#url.hostname.replace(/^\[|\]$/g, '')
    shared ??= Buffer.allocUnsafeSlow(READ_BYTES)
    const onread: OnReadOpts = {
      buffer: shared,
      callback: (count, bytes) => {
        if (this.#socket === socket && Buffer.isBuffer(bytes)) this.#reader.feed(bytes, count)
        return true
      },
    }
    const secure = protocol === 'https:'
    const target = { host, port: Number(port) || (secure ? 443 : 80), noDelay: true, onread }
    const socket = secure
      ? connectTls({ ...target, servername: /^[\d.]+$|:/.test(host) ? '' : host })
      : connect(target)
    this.#requests = 0
    let error: Error | undefined
    socket.on('error', fault => {
      error = fault
    })
    socket.on('close', () => this.#closed(socket, error))
    // A router that has nothing else to do may end.
    socket.unref()
    return socket
  }

  #ended(keepAlive: boolean): void {
    this.#busy = false
    if (!keepAlive) this.#drop()
    this.sink.onEnd()
  }

  #failed(fault: ScrapeFault): void {
    const busy = this.#busy
    this.destroy()
    if (busy) this.sink.onFault(fault)
  }

  #closed(socket: Socket, error: Error | undefined): void {
    if (this.#socket !== socket) return
    this.#socket = undefined
    this.sink.onClosed()
    if (!this.#busy) return
    // Engines close idle connections (uvicorn after 5 s), perhaps just as the next request is under way.
    if (this.#requests > 1 && this.#reader.untouched) return this.#send()
    if (error !== undefined) return this.#failed({ kind: 'connection', reason: describe(error) })
    if (!this.#reader.closed())
      this.#failed({ kind: 'connection', reason: 'closed the connection in the middle of its answer' })
  }

  /** From now on nothing more is heard of the socket. */
  #drop(): void {
    const socket = this.#socket
    if (socket === undefined) return
    this.#socket = undefined
    socket.destroy()
    this.sink.onClosed()
  }
}

/** Why an answer is not wanted, if so. */
function judge({ status, contentEncoding, location }: Head): string | undefined {
  if (status >= 300 && status < 400) return `answers ${status} and refers to '${location.slice(0, 256)}'`
  if (status !== 200) return `answers ${status}`
  if (contentEncoding !== '' && contentEncoding !== 'identity')
    return `answers in the encoding '${contentEncoding.slice(0, 32)}', which it was not asked for`
  return undefined
}

function describe(error: Error): string {
  const code = 'code' in error ? String(error.code) : error.message
  return `cannot be reached (${code})`
}
