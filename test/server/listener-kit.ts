/** What the listener tests share: every test runs on both adapters, over real sockets. */
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import test, { type ExecutionContext } from 'ava'
import { chooseListener } from '#phyllo/server/listener/choose.js'
import type {
  Exchange,
  Handler,
  Listener,
  ListenerFactory,
  ListenerOptions,
} from '#phyllo/server/listener/listener.js'

export { sleep }

const { factory: node } = await chooseListener('node')
const uws: ListenerFactory | Error = await chooseListener('uws').then(
  chosen => chosen.factory,
  (error: unknown) => (error instanceof Error ? error : new Error(String(error))),
)

/** Defines tests once for each adapter that loads here; says in the output when uWebSockets.js does not. */
export function forEachListener(define: (factory: ListenerFactory, name: string) => void): void {
  define(node, 'node')
  if (!(uws instanceof Error)) define(uws, 'uws')
  else {
    const { message } = uws
    test('uws: NOT RUN, as uWebSockets.js does not load on this machine', t => {
      t.log(message)
      t.regex(message, /listen\.engine/)
    })
  }
}

export interface Served {
  readonly port: number
  readonly listener: Listener
  /** What handlers threw. */
  readonly errors: unknown[]
}

/** Listens on a free port until the test ends. */
export async function serve(
  t: ExecutionContext,
  factory: ListenerFactory,
  handler: Handler,
  options: Partial<ListenerOptions> = {},
): Promise<Served> {
  const errors: unknown[] = []
  const listener = factory.create(
    {
      host: '127.0.0.1',
      port: 0,
      shared: false,
      maxHeaderBytes: 16 * 1024,
      onError: error => errors.push(error),
      ...options,
    },
    handler,
  )
  const port = await listener.listen()
  t.teardown(() => listener.close())
  return { port, listener, errors }
}

export interface Answer {
  readonly status: number
  readonly reason: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** Whether the answer came to a well-formed end. */
  readonly complete: boolean
}

export interface Ask {
  readonly method?: string
  readonly path?: string
  readonly headers?: Record<string, string>
  readonly body?: string | Buffer
}

/** One request on a connection of its own. */
export function ask(port: number, { method, path = '/', headers, body }: Ask = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = httpRequest({
      host: '127.0.0.1',
      port,
      path,
      agent: false,
      method: method ?? (body === undefined ? 'GET' : 'POST'),
      headers: { ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }), ...headers },
    })
    req.on('error', reject)
    req.on('response', res => {
      const chunks: Buffer[] = []
      res.on('data', (chunk: Buffer) => chunks.push(chunk))
      res.on('error', () => undefined)
      res.on('close', () =>
        resolve({
          status: res.statusCode ?? 0,
          reason: res.statusMessage ?? '',
          headers: res.headers,
          body: Buffer.concat(chunks).toString(),
          complete: res.complete,
        }),
      )
    })
    req.end(body)
  })
}

const TAIL = 32 * 1024

/** A bare connection, for what no proper client sends. */
export class Wire {
  readonly socket: Socket
  /** Bytes received. */
  received = 0
  closed = false
  private pieces: string[] = []
  /** What patterns are matched against: joining 20 MB for each piece that comes would take minutes. */
  private tail = ''
  private readonly changed = new Set<() => void>()

  constructor(port: number) {
    this.socket = connect({ host: '127.0.0.1', port, noDelay: true })
    this.socket.setEncoding('latin1')
    this.socket.on('data', (text: string) => {
      this.pieces.push(text)
      this.tail = (this.tail + text).slice(-TAIL)
      this.received += text.length
      this.notify()
    })
    this.socket.on('error', () => undefined)
    this.socket.on('close', () => {
      this.closed = true
      this.notify()
    })
  }

  send(text: string): this {
    this.socket.write(text, 'latin1')
    return this
  }

  /** Waits until the text so far matches or the other side closed. */
  async until(pattern: RegExp | 'closed', ms = 20_000): Promise<string> {
    const met = (): boolean => this.closed || (pattern !== 'closed' && pattern.test(this.tail))
    const deadline = Date.now() + ms
    while (!met()) {
      const left = deadline - Date.now()
      if (left <= 0) throw new Error(`waited ${ms} ms for ${pattern}; have: ${this.tail.slice(-300)}`)
      await Promise.race([
        new Promise<void>(resolve => this.changed.add(resolve)),
        sleep(Math.min(left, 100)),
      ])
      this.changed.clear()
    }
    return this.text
  }

  /** All that came since the last `forget`, as Latin-1. */
  get text(): string {
    return this.pieces.join('')
  }

  forget(): this {
    this.pieces = []
    this.tail = ''
    return this
  }

  destroy(): void {
    this.socket.destroy()
  }

  private notify(): void {
    for (const wake of this.changed) wake()
  }
}

export function wire(t: ExecutionContext, port: number): Wire {
  const opened = new Wire(port)
  t.teardown(() => opened.destroy())
  return opened
}

/** The body of a raw answer, with its chunks put together; null without a well-formed end. */
export function bodyOf(raw: string): string | null {
  const split = raw.indexOf('\r\n\r\n')
  const head = raw.slice(0, split).toLowerCase()
  let rest = raw.slice(split + 4)
  const length = /content-length: (\d+)/.exec(head)?.[1]
  if (length !== undefined) return rest.length === Number(length) ? rest : null
  const pieces: string[] = []
  for (;;) {
    const line = rest.indexOf('\r\n')
    const size = Number.parseInt(rest.slice(0, line), 16)
    if (line < 0 || Number.isNaN(size)) return null
    if (size === 0) return rest === '0\r\n\r\n' ? pieces.join('') : null
    if (rest.length < line + 2 + size + 2) return null
    pieces.push(rest.slice(line + 2, line + 2 + size))
    rest = rest.slice(line + 2 + size + 2)
  }
}

/** A promise and its resolver. */
export function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => undefined
  const promise = new Promise<T>(done => {
    resolve = done
  })
  return { promise, resolve }
}

/** Answers with what was read of the body, as text. */
export const echo =
  (cap = 1 << 20, timeoutMs = 20_000) =>
  (exchange: Exchange): void => {
    exchange.readBody(cap, timeoutMs, (body, fault) => {
      exchange.begin(fault === 'too_large' ? 413 : fault === 'timeout' ? 408 : 200, [
        'content-type',
        'text/plain',
      ])
      exchange.end(body ?? `fault: ${fault}`)
    })
  }
