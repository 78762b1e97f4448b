/** Pieces of a body that wait to be sent, and how they are put together. */

export type Piece = Uint8Array | string

/**
 * Most bytes handed to the server in one go, and gathered before the tick's end forces a send. It also bounds what
 * the server buffers for a slow client, as each send tells whether the one before got through.
 */
export const SEND_BYTES = 64 * 1024
/** Longer strings are encoded when they come in, so that a string always fits the scratch buffer. */
const LONGEST_STRING = 16 * 1024
/** Encoded at once too: uWebSockets.js for Node 24 sends strings up to U+00FF as Latin-1, not as UTF-8. */
const BEYOND_ASCII = /[\u0080-\uffff]/

/**
 * Where small pieces are put side by side. One for the thread: uWebSockets.js copies or sends before it returns. It
 * costs this process the same as a chunk per piece under one cork (measured), and spares the client and whatever is
 * between the framing and parsing of many small chunks.
 */
const scratch = Buffer.allocUnsafeSlow(SEND_BYTES + LONGEST_STRING)

export class PieceQueue {
  private pieces: Piece[] = []
  /** Index of the first piece not taken. */
  private next = 0
  /** Bytes that wait. */
  size = 0

  get isEmpty(): boolean {
    return this.next === this.pieces.length
  }

  push(piece: Piece): void {
    const isText = typeof piece === 'string'
    const kept =
      isText && (piece.length > LONGEST_STRING || BEYOND_ASCII.test(piece)) ? Buffer.from(piece) : piece
    this.pieces.push(kept)
    this.size += kept.length
  }

  clear(): void {
    if (this.pieces.length === 0) return
    this.pieces.length = 0
    this.next = 0
    this.size = 0
  }

  /** The next bytes (if a string, ASCII), about SEND_BYTES at most, in a buffer that the next call overwrites. Not for an empty queue. */
  takeShared(): Piece {
    const first = this.pieces[this.next] ?? ''
    if (first.length > SEND_BYTES && typeof first !== 'string') {
      this.pieces[this.next] = first.subarray(SEND_BYTES)
      this.size -= SEND_BYTES
      return first.subarray(0, SEND_BYTES)
    }
    if (this.next + 1 === this.pieces.length) {
      this.clear()
      return first
    }
    let length = 0
    while (!this.isEmpty && length < SEND_BYTES) {
      const piece = this.pieces[this.next] ?? ''
      if (typeof piece === 'string') length += scratch.write(piece, length)
      else if (length + piece.length > SEND_BYTES) break
      else {
        scratch.set(piece, length)
        length += piece.length
      }
      this.size -= piece.length
      this.next += 1
    }
    if (this.isEmpty) this.clear()
    return scratch.subarray(0, length)
  }

  /** All that waits, as one piece; the scratch buffer if it fits. */
  takeWhole(): Piece {
    if (this.isEmpty) return ''
    if (this.size > SEND_BYTES) return this.takeAll()
    const taken = this.takeShared()
    // Empty pieces may be left behind SEND_BYTES bytes exactly.
    return this.isEmpty ? taken : Buffer.concat([asBytes(taken), this.takeAll()])
  }

  /** All that waits, as one piece that nobody overwrites. */
  takeAll(): Uint8Array {
    const { pieces, next } = this
    const all =
      next + 1 >= pieces.length ? asBytes(pieces[next] ?? '') : Buffer.concat(pieces.slice(next).map(asBytes))
    this.clear()
    return all
  }
}

const asBytes = (piece: Piece): Uint8Array => (typeof piece === 'string' ? Buffer.from(piece) : piece)
