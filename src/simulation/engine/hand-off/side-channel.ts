/**
 * How engines talk to each other about hand-offs: JSON over HTTP, on a port of its own. Real engines use ZeroMQ and
 * RDMA there, which a router never sees; the bootstrap servers of Mooncake and SGLang are HTTP in reality too.
 */
import { request } from 'undici'
import type { Exchange, Listener } from '../../../server/listener/listener.js'
import { nodeListener } from '../../../server/listener/node.js'
import type { KvAddress } from './connector.js'
import type { HandOffOptions } from './options.js'
import { kvPortOf } from './options.js'

const MAX_BODY_BYTES = 1024 * 1024
const BODY_TIMEOUT_MS = 10_000
const JSON_HEADERS = ['content-type', 'application/json']

export interface Reply {
  readonly status: number
  readonly body: unknown
}

/** Answers a request; the signal tells that the caller has gone. */
export type SideRoute = (body: unknown, gone: AbortSignal) => Reply | Promise<Reply>

export interface SideChannel {
  readonly address: KvAddress
  close(): Promise<void>
}

/** Listens with these routes (`METHOD /path`). Rejects if the port is taken. */
export async function openSideChannel(
  options: HandOffOptions,
  routes: Readonly<Record<string, SideRoute>>,
): Promise<SideChannel> {
  const port = kvPortOf(options)
  const listener: Listener = nodeListener.create(
    { host: options.host, port, shared: false, maxHeaderBytes: 16_384 },
    exchange => serve(exchange, routes),
  )
  const taken = await listener.listen().catch((error: unknown) => {
    throw new Error(
      `cannot listen on ${options.host}:${port} for KV hand-offs; --kv-port sets another, 0 a free one`,
      { cause: error },
    )
  })
  return {
    address: { host: options.kvHost ?? options.host, port: taken },
    close: () => listener.close(),
  }
}

function serve(exchange: Exchange, routes: Readonly<Record<string, SideRoute>>): void {
  const route = routes[`${exchange.method} ${exchange.path}`]
  const gone = new AbortController()
  exchange.onAborted(() => gone.abort())
  const answer = ({ status, body }: Reply): void => {
    if (exchange.closed) return
    exchange.begin(status, JSON_HEADERS)
    exchange.end(JSON.stringify(body))
  }
  if (route === undefined) return answer({ status: 404, body: { reason: 'no such path' } })
  const run = (body: unknown): void => {
    Promise.resolve(route(body, gone.signal)).then(answer, (error: unknown) =>
      answer({ status: 500, body: { reason: error instanceof Error ? error.message : String(error) } }),
    )
  }
  if (exchange.method === 'GET') return run(null)
  exchange.readBody(MAX_BODY_BYTES, BODY_TIMEOUT_MS, bytes => {
    if (bytes === null) return
    const body = parsed(bytes)
    if (body === undefined) answer({ status: 400, body: { reason: 'not JSON' } })
    else run(body)
  })
}

function parsed(bytes: Buffer): unknown {
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'))
    return value
  } catch {
    return undefined
  }
}

/** `http://host:port`, with brackets around an IPv6 address. */
export const baseUrl = ({ host, port }: KvAddress): string =>
  `http://${host.includes(':') ? `[${host}]` : host}:${port}`

/**
 * Asks another engine. Without a body it is a GET. Waits as long as the signal lets it; the connection is not kept, so
 * that an engine that ends leaves none behind. Rejects if it can't be reached, or answers no JSON.
 */
export async function ask(url: string, body: object | null, signal: AbortSignal): Promise<Reply> {
  const answer = await request(url, {
    method: body === null ? 'GET' : 'POST',
    ...(body === null ? {} : { body: JSON.stringify(body) }),
    headers: { 'content-type': 'application/json' },
    signal,
    headersTimeout: 0,
    bodyTimeout: 0,
    reset: true,
  })
  const value: unknown = await answer.body.json()
  return { status: answer.statusCode, body: value }
}
