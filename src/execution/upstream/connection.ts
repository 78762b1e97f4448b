/**
 * One connection to a pod: undici's client for it, which knows the request it carries. That tells a request whether its
 * connection had been used before, and it mends a fault of undici that would end the process (see `#guard`).
 */
import type { Socket } from 'node:net'
import { type buildConnector, Client, type Dispatcher } from 'undici'
import { abandoned, UpstreamRequest } from './request.js'

export class Connection extends Client {
  /** The request that has the connection now. */
  current: UpstreamRequest | undefined
  /** Requests sent since it was made. */
  requests = 0
  #latest: UpstreamRequest | undefined

  constructor(origin: URL, options: Client.Options, connector: buildConnector.connector) {
    super(origin, {
      ...options,
      connect: (target, callback) => this.#connect(connector, target, callback),
    })
  }

  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    if (handler instanceof UpstreamRequest) {
      handler.via = this
      this.#latest = handler
    }
    return super.dispatch(options, handler)
  }

  #connect(
    connector: buildConnector.connector,
    target: buildConnector.Options,
    callback: buildConnector.Callback,
  ): void {
    // Undici connects anew for a request that was given up, only to find that out: a client that goes away would cost
    // a handshake and leave the pod an idle connection. Not in this turn, since undici is still in its queue.
    if (this.#latest?.over === true) {
      setImmediate(callback, abandoned, null)
      return
    }
    connector(target, (...result) => {
      this.requests = 0
      if (result[0] === null) this.#guard(result[1])
      callback(...result)
    })
  }

  /**
   * When a connection ends while its parser is paused for a slow client, undici 7.30.2 throws an AssertionError out of
   * a socket event (`assert(!this.paused)` in Parser.finish), which no one can catch, for every answer that ends with
   * its connection; other answers fail although all of them has come. So just before undici hears of the end, the
   * parser is let go on: what had come by then (at most undici's 64 KiB read buffer) goes to the client after all.
   */
  #guard(socket: Socket): void {
    socket.on('end', () => this.current?.flush())
    const destroy = socket.destroy
    socket.destroy = error => {
      this.current?.flush()
      return destroy.call(socket, error)
    }
  }
}
