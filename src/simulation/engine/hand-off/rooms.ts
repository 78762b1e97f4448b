/** SGLang's bootstrap fields of a request, for each of its sequences. */
import { z } from 'zod'

/** Why the fields are no good. */
export class RoomError extends Error {
  override readonly name = 'RoomError'

  constructor(
    readonly field: string,
    message: string,
  ) {
    super(message)
  }
}

export interface Bootstrap {
  readonly host: string | null
  /** Null: the decode engine's own setting. */
  readonly port: number | null
  /** A number of up to 63 bits, as text: JavaScript's own would lose the last of them. */
  readonly room: string
}

const oneOrMany = <S extends z.ZodType>(one: S) => z.union([one, z.array(one)]).nullish()
const body = z.looseObject({
  bootstrap_host: oneOrMany(z.string().min(1)),
  bootstrap_port: oneOrMany(z.number().int().min(1).max(65_535).nullable()),
  bootstrap_room: oneOrMany(z.number().min(0)),
})

const MOST_ROOM = 2n ** 63n - 1n

/**
 * The fields of a request with that many sequences. One value serves them all, a room as room, room + 1, …, as SGLang
 * does it; an array must have one for each, where SGLang takes what is there and fails later. Throws a RoomError.
 */
export function bootstrapsOf(fields: unknown, bytes: Buffer, count: number): Bootstrap[] {
  const parsed = body.safeParse(fields)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new RoomError(String(issue?.path[0]), `${issue?.path.join('.')}: ${issue?.message}`)
  }
  const { bootstrap_host, bootstrap_port, bootstrap_room } = parsed.data
  if (bootstrap_room === null || bootstrap_room === undefined) {
    // SGLang's own words.
    const message = 'Invalid request: Disaggregated request received without bootstrap room id.'
    throw new RoomError('bootstrap_room', message)
  }
  const hosts = spread('bootstrap_host', bootstrap_host ?? null, count)
  const ports = spread('bootstrap_port', bootstrap_port ?? null, count)
  const rooms = roomsOf(bootstrap_room, bytes, count)
  if (new Set(rooms).size < count) throw new RoomError('bootstrap_room', 'rooms must differ')
  return rooms.map((room, at) => ({ host: hosts[at] ?? null, port: ports[at] ?? null, room }))
}

function spread<T>(field: string, value: T | readonly T[], count: number): readonly T[] {
  if (!isList(value)) return Array.from({ length: count }, () => value)
  if (value.length !== count)
    throw new RoomError(field, `${field} has ${value.length} entries for ${count} sequences`)
  return value
}

const isList = <T>(value: T | readonly T[]): value is readonly T[] => Array.isArray(value)

function roomsOf(value: number | readonly number[], bytes: Buffer, count: number): string[] {
  const exact = exactRooms(value, bytes)
  const [first] = exact
  if (exact.some(room => room > MOST_ROOM))
    throw new RoomError('bootstrap_room', 'bootstrap_room must be below 2^63')
  if (typeof value === 'number' && first !== undefined)
    return Array.from({ length: count }, (_, at) => String(first + BigInt(at)))
  return spread('bootstrap_room', exact, count).map(String)
}

/** The digits as they were sent. The field's name may occur elsewhere too: the right place is where the value fits. */
function exactRooms(value: number | readonly number[], bytes: Buffer): readonly bigint[] {
  const wanted = typeof value === 'number' ? [value] : value
  for (const [, text = ''] of bytes.toString('utf8').matchAll(/"bootstrap_room"\s*:\s*(\d+|\[[\d\s,]*\])/g)) {
    const found = [...text.matchAll(/\d+/g)].map(([digits]) => BigInt(digits))
    if (found.length === wanted.length && found.every((room, at) => Number(room) === wanted[at])) return found
  }
  throw new RoomError('bootstrap_room', 'bootstrap_room must be a whole number, or an array of such')
}
