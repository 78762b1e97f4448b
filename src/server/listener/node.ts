/** The node:http adapter: runs wherever Node does. */
import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http'
import type { ListenOptions } from 'node:net'
import type { Duplex } from 'node:stream'
import { PhylloError } from '../../errors.js'
import { answerError } from '../../execution/error-answer.js'
import { framingFault } from './headers.js'
import type { Handler, Listener, ListenerFactory, ListenerOptions } from './listener.js'
import { NodeExchange } from './node-exchange.js'
import { ExchangeWatch } from './watch.js'

/** Time for a request's head. Bodies have `readBody`'s limit; answers have none, as a stream may last for hours. */
const HEAD_TIMEOUT_MS = 15_000
/** Above the 60 s that AWS ALB keeps idle connections for: the one behind must close last, or requests are lost. */
const KEEP_ALIVE_MS = 65_000
const CHECK_INTERVAL_MS = 5_000
/** As in undici and later Nodes; 16 KiB, Node 20's value, calls every second burst backpressure. */
const HIGH_WATER_BYTES = 64 * 1024

/** Answers to what the parser refuses, by Node's error code; anything else is bad framing. */
function parserError(code: string | undefined, maxHeaderBytes: number): PhylloError {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return new PhylloError('headers_too_large', `request headers are over ${maxHeaderBytes} bytes`)
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return new PhylloError('request_timeout', 'the request head took too long')
  }
  return new PhylloError('bad_framing', `not a valid HTTP/1.1 request (${code ?? 'unknown'})`)
}

class NodeListener implements Listener {
  private readonly server: Server
  private readonly watch: ExchangeWatch
  /** Connections that end because a request on them was refused. */
  private readonly refused = new WeakSet<Duplex>()
  private readonly latest = new WeakMap<Duplex, NodeExchange>()

  constructor(
    private readonly options: ListenerOptions,
    private readonly handler: Handler,
  ) {
    this.watch = new ExchangeWatch(error => options.onError?.(error))
    this.server = createServer(
      {
        maxHeaderSize: options.maxHeaderBytes,
        insecureHTTPParser: false,
        // Checked with the rest of the framing, which answers in JSON.
        requireHostHeader: false,
        noDelay: true,
        highWaterMark: HIGH_WATER_BYTES,
        requestTimeout: 0,
        headersTimeout: HEAD_TIMEOUT_MS,
        keepAliveTimeout: KEEP_ALIVE_MS,
        connectionsCheckingInterval: CHECK_INTERVAL_MS,
      },
      (req, res) => this.serve(req, res),
    )
    // Node drops headers over this count without a word, and with them what the framing check must see.
    this.server.maxHeadersCount = 0
    this.server.on('clientError', (error, socket) => this.refuse(error, socket))
  }

  get inFlight(): number {
    return this.watch.inFlight
  }

  listen(): Promise<number> {
    const { host, port, shared } = this.options
    const listenOptions: ListenOptions & { reusePort?: boolean } = { host, port, exclusive: true }
    if (shared && nodeCanShare()) listenOptions.reusePort = true
    return new Promise((resolve, reject) => {
      this.server.once('error', (error: NodeJS.ErrnoException) => reject(this.listenError(error)))
      this.server.listen(listenOptions, () => {
        const address = this.server.address()
        resolve(typeof address === 'object' && address !== null ? address.port : port)
      })
    })
  }

  private listenError(error: NodeJS.ErrnoException): Error {
    const { host, port, shared } = this.options
    const hint =
      shared && error.code === 'EADDRINUSE' && !nodeCanShare()
        ? '; node:http shares a port between threads only on Linux and FreeBSD with Node 22.12, 23.1 or later: ' +
          'run one worker, or use listen.engine: uws'
        : ''
    return new Error(`cannot listen on ${host}:${port}: ${error.message}${hint}`, { cause: error })
  }

  stopAccepting(): void {
    this.watch.isDraining = true
    this.server.close()
    this.server.closeIdleConnections()
  }

  close(): Promise<void> {
    return new Promise(resolve => {
      this.server.close(() => resolve())
      this.server.closeAllConnections()
    })
  }

  private serve(req: IncomingMessage, res: ServerResponse): void {
    const { socket } = req
    // Came in the same read as a request that was refused: smuggled, for all one knows.
    if (this.refused.has(socket)) return
    const exchange = new NodeExchange(this.watch, req, res)
    this.watch.started()
    this.latest.set(socket, exchange)
    const fault = exchange.path.startsWith('/') ? framingFault(exchange.headers) : 'the target is not a path'
    if (fault !== null) {
      this.refused.add(socket)
      exchange.endConnection()
      answerError(exchange, new PhylloError('bad_framing', fault), {})
      return
    }
    try {
      this.handler(exchange)
    } catch (error) {
      exchange.fail(error)
    }
  }
  /** The parser gave up on a connection: an answer if none is under way there, and its end. */
  private refuse(error: NodeJS.ErrnoException, socket: Duplex): void {
    if (this.refused.has(socket)) return
    if (!socket.writable || this.latest.get(socket)?.closed === false) {
      socket.destroy()
      return
    }
    const refusal = parserError(error.code, this.options.maxHeaderBytes)
    const body = refusal.toBody()
    const { status } = refusal.kind
    socket.end(
      `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nconnection: close\r\ncontent-type: application/json\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    )
  }
}

/** Does this Node know `reusePort` (22.12, 23.1), on a system that shares connections fairly among its users? */
export function nodeCanShare(version = process.versions.node, platform: string = process.platform): boolean {
  if (platform !== 'linux' && platform !== 'freebsd') return false
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > 23 || (major === 23 && minor >= 1) || (major === 22 && minor >= 12)
}

/** The factory for node:http. */
export const nodeListener: ListenerFactory = {
  name: 'node',
  canShare: nodeCanShare(),
  create: (options, handler) => new NodeListener(options, handler),
}
