/**
 * Edits of a JSON object's own fields on its bytes. All that is not edited survives byte for byte: unknown fields,
 * numbers beyond 2^53, the order of keys, white space, duplicates of other fields.
 *
 * A name may be there twice, or be written with escapes. What is edited is then there once, so that an engine whose
 * parser takes the first and one whose parser takes the last read the same.
 */
import { asBuffer, JsonWalk } from './json-walk.js'

/** A value as JSON. */
export type Json = string | Uint8Array

/**
 * A body of which the native scan has found some fields: `[offset, length]` of each, length 0 = absent. A long prompt
 * or list of messages is then jumped over. A RoutingContext is one as it is, as long as its body is the client's own.
 */
export interface ScannedBody {
  readonly body: Uint8Array
  readonly fields: Uint32Array
}

/** A JSON object that is to be read or changed. */
export type Body = Uint8Array | ScannedBody

/** What becomes of one field. Made by `set`, `replace`, `drop` and `change`. */
export type FieldEdit =
  | { readonly kind: 'set' | 'replace'; readonly name: string; readonly value: Json }
  | { readonly kind: 'drop'; readonly name: string }
  | { readonly kind: 'change'; readonly name: string; readonly to: (value: Buffer) => Json | undefined }

/** The field has that value: in its place if it is there, otherwise at the end. */
export const set = (name: string, value: Json): FieldEdit => ({ kind: 'set', name, value })
/** The field has that value if it is there. */
export const replace = (name: string, value: Json): FieldEdit => ({ kind: 'replace', name, value })
/** The field is not there. */
export const drop = (name: string): FieldEdit => ({ kind: 'drop', name })
/** The field, if it is there, has the value that is made of its own one, the last of several; undefined drops it. */
export const change = (name: string, to: (value: Buffer) => Json | undefined): FieldEdit => ({
  kind: 'change',
  name,
  to,
})

/**
 * The body with the edits, of which the last for a name counts. The body's own memory is never written to, and the
 * result never shares it.
 *
 * @throws PhylloError internal_error if the body is no JSON object
 */
export function editBody(body: Body, edits: readonly FieldEdit[]): Buffer {
  const json = bytesIn(body)
  const todo = new Map(edits.map(edit => [edit.name, edit]))
  const longest = longestOf(todo.keys())
  const walk = new JsonWalk(json, 'object', knownIn(body))
  const out = new Pieces(json, walk.start)
  const changes = new Map<string, { piece: number; value: Buffer }>()
  const done = new Set<string>()
  while (walk.next()) {
    const name = walk.name(longest)
    const edit = name === undefined ? undefined : todo.get(name)
    if (edit === undefined) out.keep(walk)
    else if (edit.kind === 'change') {
      const value = json.subarray(walk.valueStart, walk.valueEnd)
      const earlier = changes.get(edit.name)
      if (earlier !== undefined) {
        earlier.value = value
        out.drop(walk)
      } else changes.set(edit.name, { piece: out.put(walk, value), value })
    } else if (edit.kind === 'drop' || done.has(edit.name)) out.drop(walk)
    else {
      done.add(edit.name)
      out.put(walk, edit.value)
    }
  }
  const gone: string[] = []
  for (const [name, { piece, value }] of changes) {
    const edit = todo.get(name)
    const made = edit?.kind === 'change' ? edit.to(value) : undefined
    if (made === undefined) gone.push(name)
    else out.amend(piece, made)
  }
  for (const edit of todo.values())
    if (edit.kind === 'set' && !done.has(edit.name)) out.append(edit.name, edit.value)
  const made = out.toBuffer()
  return gone.length === 0 ? made : editBody(made, gone.map(drop))
}

/** The new body in pieces; whatever stands between two edits is one of them. */
class Pieces {
  readonly #json: Buffer
  readonly #pieces: Uint8Array[] = []
  /** Where the bytes begin that are still to be copied. */
  #from = 0
  /** The end of the member before. */
  #before: number
  /** There is a member already, which a comma has to follow. */
  #hasAny = false

  constructor(json: Buffer, start: number) {
    this.#json = json
    this.#before = start
  }

  keep(walk: JsonWalk): void {
    if (!this.#hasAny) this.#begin(walk)
    this.#before = walk.valueEnd
  }

  /** Keeps the member with another value; answers which piece that is. */
  put(walk: JsonWalk, value: Json): number {
    if (!this.#hasAny) this.#begin(walk)
    this.#copyTo(walk.valueStart)
    this.#from = walk.valueEnd
    this.#before = walk.valueEnd
    return this.#pieces.push(bytesOf(value)) - 1
  }

  amend(piece: number, value: Json): void {
    this.#pieces[piece] = bytesOf(value)
  }

  /** The comma before it goes with it; of the first ones, the comma behind. */
  drop(walk: JsonWalk): void {
    this.#copyTo(this.#before)
    this.#from = walk.valueEnd
    this.#before = walk.valueEnd
  }

  append(name: string, value: Json): void {
    this.#copyTo(this.#before)
    this.#from = this.#before
    this.#pieces.push(Buffer.from(`${this.#hasAny ? ',' : ''}${JSON.stringify(name)}:`), bytesOf(value))
    this.#hasAny = true
  }

  toBuffer(): Buffer {
    this.#copyTo(this.#json.length)
    return Buffer.concat(this.#pieces)
  }

  /** The first member that stays: whatever was dropped before it, with its comma, does not count. */
  #begin(walk: JsonWalk): void {
    this.#hasAny = true
    if (this.#from > 0) this.#from = walk.keyStart
  }

  #copyTo(end: number): void {
    if (end > this.#from) this.#pieces.push(this.#json.subarray(this.#from, end))
  }
}

const bytesOf = (value: Json): Uint8Array => (typeof value === 'string' ? Buffer.from(value) : value)

/** The body's bytes, the same memory. */
export const bytesIn = (body: Body): Buffer => asBuffer(body instanceof Uint8Array ? body : body.body)
const knownIn = (body: Body): Uint32Array | undefined =>
  body instanceof Uint8Array ? undefined : body.fields

function longestOf(names: Iterable<string>): number {
  let longest = 0
  for (const name of names) longest = Math.max(longest, name.length)
  return longest
}

/**
 * The bytes of a field's value, a view; the last one of duplicates, as in Python and JSON.parse. Undefined if absent.
 *
 * @throws PhylloError internal_error if the body is no JSON object
 */
export function fieldOf(body: Body, name: string): Buffer | undefined {
  return fieldsOf(body, [name])[0]
}

/** The same of several fields, in one pass and in the order of the names. */
export function fieldsOf(body: Body, names: readonly string[]): (Buffer | undefined)[] {
  const json = bytesIn(body)
  const places = new Map(names.map((name, i) => [name, i]))
  const longest = longestOf(names)
  const values: (Buffer | undefined)[] = names.map(() => undefined)
  for (const walk = new JsonWalk(json, 'object', knownIn(body)); walk.next(); ) {
    const name = walk.name(longest)
    const place = name === undefined ? undefined : places.get(name)
    if (place !== undefined) values[place] = json.subarray(walk.valueStart, walk.valueEnd)
  }
  return values
}

/** The elements of an array, as views. @throws PhylloError internal_error if it is none */
export function* elementsOf(value: Uint8Array): Generator<Buffer> {
  const json = asBuffer(value)
  for (const walk = new JsonWalk(json, 'array'); walk.next(); ) {
    yield json.subarray(walk.valueStart, walk.valueEnd)
  }
}

/** How many elements an array has; undefined for any other value. */
export function arrayLength(value: Uint8Array): number | undefined {
  if (!isArray(value)) return undefined
  let length = 0
  for (const walk = new JsonWalk(asBuffer(value), 'array'); walk.next(); ) length++
  return length
}

/** Is the value, which begins with its first byte, an array? An object? */
export const isArray = (value: Uint8Array): boolean => value[0] === 0x5b
export const isObject = (value: Uint8Array): boolean => value[0] === 0x7b
