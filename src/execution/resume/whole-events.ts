/**
 * Server-sent events as they come in pieces, let out whole: an event of which half went out could not be finished by
 * another pod.
 */

/** More than any event of a token, its logprobs included; what is longer is no such stream. */
const MOST_BYTES = 262_144

const LF = 0x0a
const CR = 0x0d
/** An event ends with a blank line: two line ends in a row, each LF, CR LF or CR. */
const ENDS = ['\n\n', '\n\r\n', '\r\r'].map(end => Buffer.from(end))

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

/** The events in it, each with the blank line that ends it. */
export function* eventsIn(bytes: Buffer): Generator<Buffer> {
  // Where each kind of end comes next; one that never comes is looked for once.
  const next = ENDS.map(() => 0)
  for (let from = 0; from < bytes.length; ) {
    let end = bytes.length
    for (const [i, each] of ENDS.entries()) {
      if ((next[i] ?? 0) <= from) {
        const at = bytes.indexOf(each, from)
        next[i] = at < 0 ? Number.POSITIVE_INFINITY : at + each.length
      }
      end = Math.min(end, next[i] ?? end)
    }
    yield bytes.subarray(from, end)
    from = end
  }
}

/** The data of an event, without a copy where it is one line, as it is of all engines; undefined: it has none. */
export function dataOf(event: Buffer): Buffer | undefined {
  // One line, and nothing else.
  if (startsWith(event, DATA_SPACE) && event.indexOf(LF) === event.length - 2)
    return event.subarray(DATA_SPACE.length, -2)
  let data: Buffer | undefined
  for (let from = 0; from < event.length; ) {
    let end = from
    while (end < event.length && event[end] !== LF && event[end] !== CR) end++
    const line = event.subarray(from, end)
    if (startsWith(line, DATA)) {
      const value = line.subarray(line[DATA.length] === SPACE ? DATA.length + 1 : DATA.length)
      data = data === undefined ? value : Buffer.concat([data, Buffer.of(LF), value])
    }
    from = end + 1
  }
  return data
}

const startsWith = (bytes: Buffer, wanted: Buffer): boolean =>
  bytes.length >= wanted.length && bytes.compare(wanted, 0, wanted.length, 0, wanted.length) === 0

const DATA = Buffer.from('data:')
const DATA_SPACE = Buffer.from('data: ')
const SPACE = 0x20
