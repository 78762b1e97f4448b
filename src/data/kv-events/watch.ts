/** What happens to the connection of a socket that dials. */
import type { Socket } from 'zeromq'

export interface ConnectionEvents {
  /** The peer speaks ZMTP: messages may come from here on. */
  up(): void
  down(): void
  /** The peer is there, but is not one that could be talked to. */
  refused(reason: string): void
  /** The socket does not dial any more: it needs a successor. */
  given(): void
}

/**
 * libzmq dials again after a lost connection, and says so at once; but not where the peer broke the protocol, as it
 * does with a message that is too long, or where something else than an engine answers for a moment. Then it says
 * nothing, ms long.
 */
const GIVEN_UP_MS = 1000

/** What is watched on this thread. */
const watched = new Set<Promise<void>>()

/**
 * Resolves when nothing is watched any more: some milliseconds after the last socket was closed. An observer must not be
 * closed itself: libzmq would wait for it for ever, on the thread that serves all sockets.
 */
export async function allUnwatched(): Promise<void> {
  await Promise.allSettled([...watched])
}

/** Follows a socket's connection until it is closed. To be called before it connects. */
export function watchConnection(socket: Socket, events: ConnectionEvents): Promise<void> {
  const watch = follow(socket, events).finally(() => watched.delete(watch))
  watched.add(watch)
  return watch
}

async function follow(socket: Socket, events: ConnectionEvents): Promise<void> {
  const observer = socket.events
  // Disconnections are told of attempts that came to nothing, too.
  let isUp = false
  let silence: NodeJS.Timeout | undefined
  const settle = (next: boolean): void => {
    if (isUp !== next) next ? events.up() : events.down()
    isUp = next
  }
  try {
    while (!observer.closed) {
      const event = await observer.receive()
      clearTimeout(silence)
      if (event.type === 'handshake') settle(true)
      else if (event.type.startsWith('handshake:error') || event.type === 'disconnect') {
        if ('error' in event) events.refused(event.error.message)
        settle(false)
        silence = setTimeout(() => events.given(), GIVEN_UP_MS)
      }
    }
  } catch (error) {
    if (!observer.closed && !socket.closed) throw error
  } finally {
    clearTimeout(silence)
  }
}
