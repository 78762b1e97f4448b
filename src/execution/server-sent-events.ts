/** Server-sent events as bytes: where they end, what they say. */

export const LF = 0x0a
export const CR = 0x0d
/** An event ends with a blank line: two line ends in a row, each LF, CR LF or CR. */
export const ENDS = ['\n\n', '\n\r\n', '\r\r'].map(end => Buffer.from(end))

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
  for (const line of linesIn(event)) {
    if (!startsWith(line, DATA)) continue
    const value = line.subarray(line[DATA.length] === SPACE ? DATA.length + 1 : DATA.length)
    data = data === undefined ? value : Buffer.concat([data, Buffer.of(LF), value])
  }
  return data
}

/** The event with other data; its other fields and comments stay, before that. */
export function withData(event: Buffer, data: Buffer): Buffer {
  const pieces: Buffer[] = []
  if (!startsWith(event, DATA_SPACE) || event.indexOf(LF) !== event.length - 2)
    for (const line of linesIn(event))
      if (line.length > 0 && !startsWith(line, DATA)) pieces.push(line, LINE_END)
  // Each line of it is a line of the event's.
  for (const line of linesIn(data)) pieces.push(DATA_SPACE, line, LINE_END)
  return Buffer.concat([...pieces, LINE_END])
}

/** Without their ends; one that ends with CR LF is followed by an empty one. */
function* linesIn(bytes: Buffer): Generator<Buffer> {
  for (let from = 0; from < bytes.length; ) {
    let end = from
    while (end < bytes.length && bytes[end] !== LF && bytes[end] !== CR) end++
    yield bytes.subarray(from, end)
    from = end + 1
  }
}

const startsWith = (bytes: Buffer, wanted: Buffer): boolean =>
  bytes.length >= wanted.length && bytes.compare(wanted, 0, wanted.length, 0, wanted.length) === 0

const DATA = Buffer.from('data:')
const DATA_SPACE = Buffer.from('data: ')
const SPACE = 0x20
const LINE_END = Buffer.of(LF)
