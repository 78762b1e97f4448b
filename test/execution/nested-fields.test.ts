/** Fields below the top level: as an object in memory would be changed, and everything else byte for byte. */
import test from 'ava'
import fc from 'fast-check'
import { editFields, fieldAt, pathOf } from '#phyllo/execution/nested-fields.js'

const name = fc.oneof(fc.constantFrom('a', 'b', 'c/d', 'e~f', ''), fc.string())
const pointerOf = (path: readonly string[]): string =>
  path.map(part => `/${part.replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')

/** Maps three deep, whose leaves are any JSON. */
const tree = fc.dictionary(
  name,
  fc.oneof(fc.json(), fc.dictionary(name, fc.oneof(fc.json(), fc.dictionary(name, fc.json())))),
)
type Tree = string | { readonly [name: string]: Tree }
/** Leaves are JSON already, which is left as it is. */
const textOf = (value: Tree): string =>
  typeof value === 'string'
    ? value
    : `{${Object.entries(value)
        .map(([key, each]) => `${JSON.stringify(key)}: ${textOf(each)}`)
        .join(' ,')}}`

const isMap = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The same on objects; undefined where something on the way is no object. */
function changed(value: unknown, [first = '', ...rest]: readonly string[], to: unknown): unknown {
  if (value !== undefined && value !== null && !isMap(value)) return undefined
  const own = new Map(Object.entries(value ?? {}))
  const inner = rest.length === 0 ? to : changed(own.get(first), rest, to)
  if (rest.length > 0 && inner === undefined) return undefined
  return Object.fromEntries([...own.set(first, inner)])
}

test('a field that is set is set as in an object, through maps that are there or not; nothing else changes', t => {
  fc.assert(
    fc.property(tree, fc.array(name, { minLength: 1, maxLength: 4 }), fc.json(), (given, path, json) => {
      fc.pre(!path.includes('__proto__') && !JSON.stringify(given).includes('__proto__'))
      const text = textOf(given)
      const want = changed(JSON.parse(text), path, JSON.parse(json))
      t.deepEqual(pathOf(pointerOf(path)), path)
      const edit = () => editFields(Buffer.from(text), [{ path, value: json }]).toString()
      if (want === undefined) t.throws(edit, { message: /must be an object$/ })
      else {
        t.deepEqual(JSON.parse(edit()), want)
        t.is(fieldAt(Buffer.from(edit()), path)?.toString(), json.trim() === json ? json : json.trim())
        // Whatever it was, it is there again once it is put back.
        const before = fieldAt(Buffer.from(text), path)
        if (before !== undefined)
          t.is(editFields(Buffer.from(edit()), [{ path, value: before }]).toString(), text)
      }
    }),
    { numRuns: 300 },
  )
})

test('a field that is dropped is not there, and its neighbours are', t => {
  fc.assert(
    fc.property(tree, fc.array(name, { minLength: 1, maxLength: 3 }), (given, path) => {
      const text = textOf(given)
      const out = editFields(Buffer.from(text), [{ path, value: undefined }])
      t.is(fieldAt(out, path), undefined)
      if (fieldAt(Buffer.from(text), path) === undefined) t.is(out.toString(), text)
    }),
  )
})

test('several fields of one map; big numbers, odd spacing and unknown fields survive', t => {
  const json = Buffer.from(
    '{ "o" : {"keep":1e400, "x": 1 , "big":12345678901234567890},"p":null,"q":[ {"r":7} ] }',
  )
  const out = editFields(json, [
    { path: ['o', 'x'], value: undefined },
    { path: ['o', 'y'], value: 'true' },
    { path: ['p', 'z', 'w'], value: '[]' },
  ])
  t.is(
    out.toString(),
    '{ "o" : {"keep":1e400 , "big":12345678901234567890,"y":true},"p":{"z":{"w":[]}},"q":[ {"r":7} ] }',
  )
  t.is(fieldAt(json, ['q', '0', 'r'])?.toString(), '7')
  for (const path of [
    ['q', '1', 'r'],
    ['q', '00', 'r'],
    ['q', '-1'],
    ['q', 'r'],
    ['p', 'z'],
    ['none', '0'],
  ])
    t.is(fieldAt(json, path), undefined, path.join())
})
