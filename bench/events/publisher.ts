/**
 * A publisher in a process of its own that costs next to nothing: ZeroMQ's protocol on bare TCP, with messages made in
 * advance. A real PUB socket would take more CPU time a message than the router does, and would be what is measured.
 * It waits for a slow reader, where a PUB socket would in the end drop messages.
 */
import { createServer, type Socket } from 'node:net'
import { answerOrders } from '../lib/orders.js'
import { onTheWire, type Pass, SEQUENCE_AT, type Shape, type Wire } from './messages.js'

export type PublisherOrder =
  | { readonly type: 'prepare'; readonly shape: Shape }
  /** Sends a pass to the reader that came as the nth. */
  | { readonly type: 'send'; readonly pass: Pass; readonly reader: number }

/** To `prepare`: the port. */
export type PublisherReport = number

/** Bytes handed to the kernel at a time. */
const PIECE = 1 << 20

const greeting = Buffer.alloc(64)
greeting.set([0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 1])
greeting.write('NULL', 12)
// A command READY, with the property Socket-Type: PUB.
const ready = Buffer.from('\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB', 'latin1')
const pong = Buffer.from('\x04\x05\x04PONG', 'latin1')

interface Reader {
  readonly socket: Socket
  next: number
}

const readers: Reader[] = []
const passes = new Map<Pass, Wire>()

function accept(socket: Socket): void {
  socket.write(greeting)
  let hasGreeted = false
  socket.on('data', data => {
    if (!hasGreeted) socket.write(ready)
    // Its subscription is for everything. Without answers to its pings it would leave.
    else if (data.includes('PING')) socket.write(pong)
    hasGreeted = true
  })
  socket.on('error', () => {})
  readers.push({ socket, next: 0 })
}

async function listen(): Promise<number> {
  const server = createServer(accept)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('a TCP server has no port')
  return address.port
}

async function send(pass: Pass, index: number): Promise<void> {
  const wire = passes.get(pass)
  const reader = readers[index]
  if (wire === undefined || reader === undefined) throw new Error(`no ${pass} for reader ${index}`)
  for (const at of wire.sequences) wire.bytes.writeBigUInt64BE(BigInt(reader.next++), at)
  for (const piece of pieces(wire)) {
    await new Promise<void>(resolve => {
      reader.socket.write(piece, () => resolve())
    })
  }
}

/** Of whole messages, so that an answer to a ping can go between them. */
function* pieces({ bytes, sequences }: Wire): Generator<Buffer> {
  let from = 0
  for (const sequence of sequences) {
    const start = sequence - SEQUENCE_AT
    if (start - from < PIECE) continue
    yield bytes.subarray(from, start)
    from = start
  }
  yield bytes.subarray(from)
}

answerOrders(async (order: PublisherOrder): Promise<PublisherReport> => {
  if (order.type === 'prepare') {
    for (const pass of ['store', 'remove'] as const) passes.set(pass, onTheWire(order.shape, pass))
    return listen()
  }
  await send(order.pass, order.reader)
  return 0
})
