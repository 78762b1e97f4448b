/** What happens to a socket's connections. */
import type { Socket } from 'zeromq'

export interface ConnectionEvents {
  /** The peer speaks ZMTP: messages may come from here on. */
  up(): void
  down(): void
  /** The peer is there, but is not one that could be talked to. */
  refused(reason: string): void
}

/** Follows a socket's connections until it is closed. To be called before it connects. */
export async function watchConnections(socket: Socket, events: ConnectionEvents): Promise<void> {
  const observer = socket.events
  // Disconnections are told of attempts that came to nothing, too.
  let isUp = false
  try {
    while (!observer.closed) {
      const event = await observer.receive()
      if (event.type === 'handshake') {
        isUp = true
        events.up()
      } else if (event.type === 'disconnect' && isUp) {
        isUp = false
        events.down()
      } else if (event.type.startsWith('handshake:error')) {
        events.refused('error' in event ? event.error.message : event.type)
      }
    }
  } catch (error) {
    if (!observer.closed && !socket.closed) throw error
  }
}
