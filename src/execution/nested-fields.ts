/**
 * Fields below the top level of a JSON object, named by JSON pointers (RFC 6901) and changed on the object's bytes: all that
 * is not on the way to them survives byte for byte.
 */
import { PhylloError } from '../errors.js'
import {
  drop,
  editBody,
  elementsOf,
  fieldOf,
  fieldsOf,
  isArray,
  isObject,
  type Json,
  set,
} from './body-edit.js'

/** Names from the top level down. */
export type FieldPath = readonly string[]

/** A pointer's names: `/a/b~1c` is `a`, then `b/c`. What does not begin with a slash is a name of the top level itself. */
export const pathOf = (pointer: string): FieldPath =>
  pointer.startsWith('/')
    ? pointer
        .slice(1)
        .split('/')
        .map(name => name.replaceAll('~1', '/').replaceAll('~0', '~'))
    : [pointer]

/** What a field is to be; undefined: it is not to be there. */
export interface NestedEdit {
  readonly path: FieldPath
  readonly value: Json | undefined
}

/**
 * The object with the edits, of which none may be within another's. Objects on the way to a field that is set are made
 * where they are not there, or null.
 *
 * @throws PhylloError invalid_request where something on the way to a field that is set is no object, and
 *   internal_error if the bytes are no JSON object
 */
export function editFields(json: Buffer, edits: readonly NestedEdit[], above: FieldPath = []): Buffer {
  if (edits.length === 0) return json
  const groups = new Map<string, NestedEdit[]>()
  for (const { path, value } of edits) {
    const [name = '', ...rest] = path
    groups.set(name, [...(groups.get(name) ?? []), { path: rest, value }])
  }
  const names = [...groups.keys()]
  const values = fieldsOf(json, names)
  const made = names.flatMap((name, i) => {
    const group = groups.get(name) ?? []
    const [first] = group
    if (first?.path.length === 0) return first.value === undefined ? drop(name) : set(name, first.value)
    const inner = within(values[i], group, [...above, name])
    return inner === undefined ? [] : set(name, inner)
  })
  return editBody(json, made)
}

/** The value with edits below it; undefined: it stays as it is. */
function within(value: Buffer | undefined, edits: readonly NestedEdit[], at: FieldPath): Buffer | undefined {
  const isSet = edits.some(edit => edit.value !== undefined)
  if (value !== undefined && isObject(value)) return editFields(value, edits, at)
  if (!isSet) return undefined
  if (value === undefined || value.toString('latin1') === 'null')
    return editFields(Buffer.from('{}'), edits, at)
  const name = at.join('.')
  throw new PhylloError('invalid_request', `the field '${name}' must be an object`, name)
}

/**
 * The bytes of a value that a pointer leads to, through objects by name and through lists by number; undefined where there
 * is none.
 *
 * @throws PhylloError internal_error if the bytes are no JSON object
 */
export function fieldAt(json: Uint8Array, [name = '', ...rest]: FieldPath): Buffer | undefined {
  let value = fieldOf(json, name)
  for (const next of rest) {
    if (value === undefined) return undefined
    value = isObject(value) ? fieldOf(value, next) : isArray(value) ? elementAt(value, next) : undefined
  }
  return value
}

function elementAt(list: Buffer, text: string): Buffer | undefined {
  if (!/^(?:0|[1-9]\d{0,8})$/.test(text)) return undefined
  let left = Number(text)
  for (const element of elementsOf(list)) if (left-- === 0) return element
  return undefined
}
