/** Gathers a request body under a cap into one buffer of its own. */

/** First allocation; most chat bodies fit. */
const FIRST_BYTES = 16 * 1024

/**
 * The bytes of one body. They are copied into one buffer that doubles, so a body sent one byte at a time costs no
 * object per byte, and a large Content-Length alone reserves nothing.
 */
export class BodyGatherer {
  private bytes: Buffer = EMPTY
  private length = 0

  /** @param cap most bytes taken */
  constructor(private readonly cap: number) {}

  /** Copies a piece (which may be overwritten afterwards); false if the body is over the cap. */
  add(piece: Uint8Array): boolean {
    const length = this.length + piece.length
    if (length > this.cap) {
      this.bytes = EMPTY
      return false
    }
    if (length > this.bytes.length) this.grow(length)
    this.bytes.set(piece, this.length)
    this.length = length
    return true
  }

  /** The whole body. */
  take(): Buffer {
    return this.bytes.subarray(0, this.length)
  }

  private grow(length: number): void {
    const room = Math.min(this.cap, Math.max(length, 2 * this.bytes.length, FIRST_BYTES))
    // A body that came whole needs no room to grow. allocUnsafeSlow: never a slice of Buffer's shared pool.
    const grown = Buffer.allocUnsafeSlow(room)
    this.bytes.copy(grown, 0, 0, this.length)
    this.bytes = grown
  }
}

const EMPTY = Buffer.alloc(0)
