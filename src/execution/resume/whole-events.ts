/**
 * Server-sent events as they come in pieces, let out whole: an event of which half went out could not be finished by
 * another pod.
 */
import { CR, ENDS, LF } from '../server-sent-events.js'

/** More than any event of a token, its logprobs included; what is longer is no such stream. */
const MOST_BYTES = 262_144

export class WholeEvents {
  /** The beginning of an event whose end is still to come. */
  #tail: Buffer | undefined
  /** One was longer than is held back, and went out in pieces. */
  hasBroken = false

  /**
   * All events that are whole by now; undefined: none. Their memory is the piece's own where it began with an event.
   */
  take(piece: Buffer): Buffer | undefined {
    const bytes = this.#tail === undefined ? piece : Buffer.concat([this.#tail, piece])
    const end = endOfLast(bytes)
    if (bytes.length - end > MOST_BYTES) {
      this.hasBroken = true
      this.#tail = undefined
      return bytes
    }
    this.#tail = end === bytes.length ? undefined : bytes.subarray(end)
    return end === 0 ? undefined : bytes.subarray(0, end)
  }

  /** What is left of an event; it is gone from here. */
  rest(): Buffer | undefined {
    const tail = this.#tail
    this.#tail = undefined
    return tail
  }
}

/** Behind the last blank line; 0: there is none. */
function endOfLast(bytes: Buffer): number {
  const { length } = bytes
  const last = bytes[length - 1]
  if (last === LF && bytes[length - 2] === LF) return length
  let end = 0
  for (const each of ENDS) {
    const at = bytes.lastIndexOf(each)
    if (at >= 0) end = Math.max(end, at + each.length)
  }
  // A CR at the very end may be the first half of a CR LF.
  return end === length && last === CR ? endOfLast(bytes.subarray(0, length - 1)) : end
}
