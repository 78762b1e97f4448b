/**
 * Takes messages off a socket in batches: the messages that are there already cost no turn of the event loop and no
 * poll each, and a batch is one native call.
 */
import type { Subscriber } from 'zeromq'

/**
 * Largest batch. 256 messages of one block, or 1 MiB of large ones, keep the native side busy for some 3 ms; then
 * other pods' sockets have their turn.
 */
const BATCH_MESSAGES = 256
const BATCH_BYTES = 1024 * 1024

export interface Sink {
  /** A message's parts; answers the bytes that they make. */
  message(parts: Buffer[]): number
  /** What came is to be worked off. */
  flush(): void
}

/** Runs until the socket is closed. Throws what the socket throws otherwise. */
export async function pump(socket: Subscriber, sink: Sink): Promise<void> {
  try {
    while (!socket.closed) {
      const bytes = sink.message(await socket.receive())
      if (socket.readable) await drain(socket, sink, bytes)
      sink.flush()
      await turnOfLoop()
    }
  } catch (error) {
    if (!socket.closed) throw error
  }
}

async function drain(socket: Subscriber, sink: Sink, first: number): Promise<void> {
  let bytes = first
  // Without a timeout, `receive` looks for a message at once and for nothing else: a third of its price is saved.
  socket.receiveTimeout = 0
  try {
    for (let count = 1; count < BATCH_MESSAGES && bytes < BATCH_BYTES; count++) {
      bytes += sink.message(await socket.receive())
    }
  } catch (error) {
    if (!isEmpty(error)) throw error
  } finally {
    if (!socket.closed) socket.receiveTimeout = -1
  }
}

/** Nothing is there just now. */
const isEmpty = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'EAGAIN'

const turnOfLoop = (): Promise<void> => new Promise(resolve => setImmediate(resolve))
