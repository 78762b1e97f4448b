/**
 * The uWebSockets.js adapter. HTTP/1.1 only. What this server cannot do, and node:http can:
 * - idle keep-alive connections end after 8 to 12 s (hard-coded; a `keep-alive: timeout=7` header says so). Behind a
 *   load balancer that expects more, such as AWS ALB with 60 s, choose `listen.engine: node`;
 * - while draining, a connection whose stream began before ends with the idle time-out, not with its answer;
 * - a request line that arrives in two reads is refused with 505 (a fault of this version's parser);
 * - a request that comes while the one before it on the same connection is unanswered ends the connection.
 */

import { PhylloError } from '../../errors.js'
import { framingFault } from './headers.js'
import type { Handler, Listener, ListenerFactory, ListenerOptions } from './listener.js'
import { UwsExchange } from './uws-exchange.js'
import { readHead, refuse } from './uws-head.js'
import type { LoadedUws, UwsListenSocket, UwsModule, UwsRequest, UwsResponse } from './uws-module.js'
import { ExchangeWatch } from './watch.js'

class UwsListener implements Listener {
  private readonly app
  private socket: UwsListenSocket | null = null
  private isClosed = false
  private readonly watch: ExchangeWatch

  constructor(
    private readonly uws: UwsModule,
    private readonly options: ListenerOptions,
    private readonly handler: Handler,
  ) {
    this.watch = new ExchangeWatch(error => options.onError?.(error))
    // Leaves out the `uWebSockets: 20` header. Per thread, undocumented, harmless if gone.
    uws._cfg?.('silent')
    this.app = uws.App().any('/*', (res, req) => this.serve(res, req))
  }

  get inFlight(): number {
    return this.watch.inFlight
  }

  async listen(): Promise<number> {
    const { port, shared } = this.options
    if (!shared || port !== 0) return this.bind(port)
    // The server sets SO_REUSEPORT only for a port with a number: finds a free one, and binds it anew to share it.
    const free = await this.bind(0)
    this.unbind()
    return this.bind(free)
  }

  private bind(port: number): Promise<number> {
    const { host, shared } = this.options
    return new Promise((resolve, reject) => {
      const mode = shared ? 0 : this.uws.LIBUS_LISTEN_EXCLUSIVE_PORT
      this.app.listen(host, port, mode, socket => {
        if (socket === false) {
          reject(new Error(`cannot listen on ${host}:${port}: the port is taken or not permitted`))
        } else {
          this.socket = socket
          resolve(this.uws.us_socket_local_port(socket))
        }
      })
    })
  }

  private unbind(): void {
    if (this.socket !== null) this.uws.us_listen_socket_close(this.socket)
    this.socket = null
  }

  stopAccepting(): void {
    this.watch.isDraining = true
    this.unbind()
  }

  async close(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    this.socket = null
    this.app.close()
  }

  /** Nothing may be thrown from here: it would end the process. */
  private serve(res: UwsResponse, req: UwsRequest): void {
    const head = readHead(req)
    const fault = framingFault(head.headers)
    if (fault !== null) {
      refuse(res, new PhylloError('bad_framing', fault))
      return
    }
    if (head.bytes > this.options.maxHeaderBytes) {
      const limit = this.options.maxHeaderBytes
      refuse(res, new PhylloError('headers_too_large', `request headers are over ${limit} bytes`))
      return
    }
    const exchange = new UwsExchange(this.watch, res, head)
    this.watch.started()
    try {
      this.handler(exchange)
    } catch (error) {
      exchange.fail(error)
    }
    exchange.handled()
  }
}

/** The factory for a loaded uWebSockets.js. */
export function uwsFactory({ module, mostHeaderBytes }: LoadedUws): ListenerFactory {
  return {
    name: 'uws',
    // Elsewhere SO_REUSEPORT is missing or gives all connections to one thread.
    canShare: process.platform === 'linux' || process.platform === 'freebsd',
    create(options, handler) {
      if (options.maxHeaderBytes > mostHeaderBytes) {
        throw new Error(
          `request headers of ${options.maxHeaderBytes} bytes are over uWebSockets.js' limit of ${mostHeaderBytes}: ` +
            `set UWS_HTTP_MAX_HEADERS_SIZE=${options.maxHeaderBytes} in the environment before Phyllo starts, ` +
            'and call chooseListener on the main thread before any worker does',
        )
      }
      return new UwsListener(module, options, handler)
    },
  }
}
