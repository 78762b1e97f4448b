/** Pods on raw sockets, so that they can misbehave in any way. */
import { createServer, type Server, type Socket } from 'node:net'
import type { ExecutionContext } from 'ava'

export interface PodRequest {
  /** Request line and headers. */
  readonly head: string
  readonly body: Buffer
  readonly socket: Socket
  /** 1 for the first request of a connection. */
  readonly nth: number
}

export interface Pod {
  readonly origin: string
  readonly requests: PodRequest[]
  readonly sockets: Set<Socket>
  readonly server: Server
  /** Connections accepted so far. */
  accepted: number
}

/** A pod on a raw socket; `answer` runs when a request has come whole (or, with `early`, when its head has). */
export async function startPod(
  t: ExecutionContext,
  answer: (request: PodRequest) => void,
  early = false,
): Promise<Pod> {
  const server = createServer()
  const requests: PodRequest[] = []
  const sockets = new Set<Socket>()
  const listening = new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  await listening
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const pod: Pod = { origin: `http://127.0.0.1:${address.port}`, requests, sockets, server, accepted: 0 }
  server.on('connection', socket => {
    pod.accepted++
    sockets.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => sockets.delete(socket))
    readRequests(socket, early, request => {
      requests.push(request)
      answer(request)
    })
  })
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return pod
}

function readRequests(socket: Socket, early: boolean, done: (request: PodRequest) => void): void {
  let received = Buffer.alloc(0)
  let nth = 0
  let answered = false
  socket.on('data', chunk => {
    received = Buffer.concat([received, chunk])
    for (;;) {
      const end = received.indexOf('\r\n\r\n')
      if (end < 0) return
      const head = received.subarray(0, end).toString('latin1')
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
      const whole = received.length >= end + 4 + length
      if (early && !answered) {
        answered = true
        done({ head, body: Buffer.alloc(0), socket, nth: ++nth })
      }
      if (!whole) return
      const body = received.subarray(end + 4, end + 4 + length)
      received = received.subarray(end + 4 + length)
      if (!answered) done({ head, body, socket, nth: ++nth })
      answered = false
    }
  })
}

/** A whole answer with a content-length. */
export function answerWith(status: number, body: string, headers: readonly string[] = []): string {
  const lines = [`HTTP/1.1 ${status} Some Reason`, 'content-type: application/json', ...headers]
  return `${lines.join('\r\n')}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
}

export const streamHead =
  'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n'

/** One chunk of the chunked encoding. */
export function chunked(data: string | Buffer): Buffer {
  const bytes = Buffer.from(data)
  return Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')])
}
export const lastChunk = '0\r\n\r\n'

let dead = 0
/**
 * An origin where nothing listens: of the ports that no service has, below those that a system hands out. A port that
 * was closed a moment ago may be the next test's pod.
 */
export const deadOrigin = (): string => `http://127.0.0.1:${2 + (dead++ % 3)}`
