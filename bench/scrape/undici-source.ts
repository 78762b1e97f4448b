/** What the scraper would be with undici for a client: the same, but for the connection. */
import { Client, type Dispatcher } from 'undici'
import type { PageSink, PageSource } from '#phyllo/data/scrape/connection.js'

/** With the methods of undici's first handler interface, which it passes through as it is. */
class Handler implements Dispatcher.DispatchHandler {
  constructor(private readonly sink: PageSink) {}
  onConnect(): void {}
  onHeaders(): boolean {
    return true
  }
  onData(chunk: Buffer): boolean {
    this.sink.onBody(chunk, 0, chunk.length)
    return true
  }
  onComplete(): void {
    this.sink.onEnd()
  }
  onError(error: Error): void {
    this.sink.onFault({ kind: 'connection', reason: error.message })
  }
}

export class UndiciSource implements PageSource {
  readonly #client: Client
  readonly #handler: Handler

  constructor(origin: string, sink: PageSink) {
    this.#client = new Client(origin, { pipelining: 1, headersTimeout: 0, bodyTimeout: 0 })
    this.#handler = new Handler(sink)
  }

  get(path: string): void {
    const headers = ['accept', 'text/plain', 'accept-encoding', 'identity']
    this.#client.dispatch({ method: 'GET', path, headers }, this.#handler)
  }

  destroy(): void {
    void this.#client.destroy()
  }
}
