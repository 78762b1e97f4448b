/** Edits on bytes are what parsing, editing and writing again would give, and leave all else byte for byte. */
import test from 'ava'
import fc from 'fast-check'
import { PhylloError } from '#phyllo/errors.js'
import {
  arrayLength,
  change,
  drop,
  editBody,
  elementsOf,
  type FieldEdit,
  fieldOf,
  fieldsOf,
  replace,
  set,
} from '#phyllo/execution/body-edit.js'

const NAMES = ['stream', 'max_tokens', 'n', 'a', '', 'ü', '"']

const space = fc.constantFrom('', '', ' ', '\n', '\t \r\n')
/** A string as JSON, some of its characters as escapes. */
const text = (value: string, escaped: readonly boolean[]): string =>
  `"${[...value]
    .map((char, i) =>
      escaped[i % escaped.length] === true || char === '"' || char === '\\' || char < ' '
        ? [...Array(char.length).keys()]
            .map(unit => `\\u${char.charCodeAt(unit).toString(16).padStart(4, '0')}`)
            .join('')
        : char,
    )
    .join('')}"`
const texts = fc
  .tuple(
    fc.string({
      unit: fc.constantFrom('a', '"', '\\', '\n', ',', '}', '{', ']', ':', 'é', '中', '🌿'),
      maxLength: 80,
    }),
    fc.array(fc.boolean(), { minLength: 1, maxLength: 4 }),
  )
  .map(([value, escaped]) => text(value, escaped))
const scalars = fc.oneof(
  texts,
  fc.constantFrom(
    '0',
    '-1.50e+3',
    '9007199254740993123',
    'true',
    'false',
    'null',
    '""',
    '"\\\\"',
    '"\\\\\\""',
  ),
)
const { value: values } = fc.letrec<{ value: string; array: string; object: string }>(tie => ({
  value: fc.oneof({ depthSize: 'small' }, scalars, tie('array'), tie('object')),
  array: fc
    .tuple(fc.array(tie('value'), { maxLength: 4 }), space)
    .map(([items, gap]) => `[${gap}${items.join(`${gap},${gap}`)}${gap}]`),
  // Nested fields have the same names as those that are edited.
  object: fc
    .tuple(fc.array(fc.tuple(fc.constantFrom(...NAMES), tie('value')), { maxLength: 4 }), space)
    .map(
      ([items, gap]) => `{${gap}${items.map(([k, v]) => `${JSON.stringify(k)}${gap}:${v}`).join(`,${gap}`)}}`,
    ),
}))

interface Member {
  readonly name: string
  readonly key: string
  readonly value: string
}
const members = fc.array(
  fc
    .tuple(
      fc.oneof(fc.constantFrom(...NAMES), fc.constantFrom('model', 'x', 'streams', 'strea')),
      fc.array(fc.boolean(), { minLength: 1, maxLength: 3 }),
      values,
    )
    .map(([name, escaped, value]): Member => ({ name, key: text(name, escaped), value })),
  { maxLength: 8 },
)
const bodies = fc.record({ members, gaps: fc.array(space, { minLength: 6, maxLength: 6 }) }).map(given => ({
  ...given,
  json: (() => {
    const [a, b, c, d, e, f] = given.gaps
    return `${a}{${b}${given.members.map(m => `${m.key}${c}:${d}${m.value}${e}`).join(`,${f}`)}}${a}`
  })(),
}))
const edits: fc.Arbitrary<FieldEdit[]> = fc.uniqueArray(
  fc.oneof(
    fc.tuple(fc.constantFrom(...NAMES), values).map(([name, value]) => set(name, value)),
    fc.tuple(fc.constantFrom(...NAMES), values).map(([name, value]) => replace(name, Buffer.from(value))),
    fc.constantFrom(...NAMES).map(drop),
    fc.constantFrom(...NAMES).map(name => change(name, value => `[${value.toString()}]`)),
    fc.constantFrom(...NAMES).map(name => change(name, () => undefined)),
  ),
  { selector: edit => edit.name, maxLength: 5 },
)

/** Members after the edits: a list, so that order and duplicates are compared too. */
function edited(before: readonly Member[], todo: readonly FieldEdit[]): Member[] {
  const after: Member[] = []
  for (const [i, member] of before.entries()) {
    const { name, key } = member
    const edit = todo.find(each => each.name === name)
    if (edit === undefined) after.push(member)
    else if (before.findIndex(each => each.name === name) === i && edit.kind !== 'drop') {
      const last = before.findLast(each => each.name === name)?.value ?? ''
      const value = edit.kind === 'change' ? edit.to(Buffer.from(last)) : edit.value
      if (value !== undefined) after.push({ name, key, value: value.toString() })
    }
  }
  for (const edit of todo) {
    if (edit.kind === 'set' && !before.some(each => each.name === edit.name)) {
      after.push({ name: edit.name, key: JSON.stringify(edit.name), value: edit.value.toString() })
    }
  }
  return after
}

/** JSON without the white space between its parts; all else stays. */
const compact = (json: string): string => json.replaceAll(/("(?:[^"\\]|\\.)*")|[ \t\r\n]+/g, '$1')

test('an edited body reads like the edited object, and what was not edited stands there as it did', t => {
  fc.assert(
    fc.property(bodies, edits, ({ json, members: before }, todo) => {
      const out = editBody(Buffer.from(json), todo).toString()
      const expected = edited(before, todo)
      t.is(compact(out), compact(`{${expected.map(({ key, value }) => `${key}:${value}`).join(',')}}`), json)
      const names = [...NAMES, 'model']
      const parsed: unknown = JSON.parse(out)
      t.deepEqual(parsed, Object.fromEntries(expected.map(({ name, value }) => [name, JSON.parse(value)])))
      const found = fieldsOf(Buffer.from(out), names).map(each => each?.toString())
      t.deepEqual(
        found,
        names.map(name => expected.findLast(each => each.name === name)?.value),
      )
    }),
    { numRuns: 1500 },
  )
})

test('fields that the scan has found are jumped over, with the same outcome', t => {
  fc.assert(
    fc.property(bodies, edits, fc.subarray(NAMES), ({ json }, todo, known) => {
      const body = Buffer.from(json)
      const fields = new Uint32Array(
        known.flatMap(name => {
          const value = fieldOf(body, name)
          return value === undefined ? [0, 0] : [value.byteOffset - body.byteOffset, value.length]
        }),
      )
      t.deepEqual(editBody({ body, fields }, todo), editBody(body, todo))
      t.deepEqual(fieldsOf({ body, fields }, NAMES), fieldsOf(body, NAMES))
    }),
  )
})

test('places of another body end in an internal error, not in a broken body', t => {
  const body = Buffer.from('{"prompt":"a leaf","n":1}')
  const error = t.throws(() => editBody({ body, fields: Uint32Array.of(10, 4) }, [drop('n')]), {
    instanceOf: PhylloError,
  })
  t.is(error?.code, 'internal_error')
})

test('an edited field is there once, however it was written and how often', t => {
  const body = String.raw`{"\u0073tream":true,"x":{"stream":1},"stream":true , "s\u0074ream" : null,"y":1e400}`
  t.is(
    editBody(Buffer.from(body), [set('stream', 'false')]).toString(),
    '{"\\u0073tream":false,"x":{"stream":1},"y":1e400}',
  )
  t.is(editBody(Buffer.from(body), [drop('stream')]).toString(), '{"x":{"stream":1},"y":1e400}')
})

const literal: readonly [body: string, edits: readonly FieldEdit[], out: string][] = [
  ['{}', [set('a', '1')], '{"a":1}'],
  [' { \n} ', [set('a', '1'), set('b', '2')], ' {"a":1,"b":2 \n} '],
  ['{"a":1}', [drop('a')], '{}'],
  ['{ "a" : 1 , "b" : 2 }', [drop('a')], '{"b" : 2 }'],
  ['{ "a" : 1 , "b" : 2 }', [drop('b')], '{ "a" : 1 }'],
  ['{"a":1,"b":2,"c":3}', [drop('a'), drop('b'), set('d', '4')], '{"c":3,"d":4}'],
  ['{"a":1,"b":2}', [drop('a'), drop('b'), set('d', '4')], '{"d":4}'],
  ['{"a":1,"b":2}', [set('d', '4'), drop('a'), drop('b'), set('e', '5')], '{"d":4,"e":5}'],
  ['{"a":12345678901234567890,"b":2}', [replace('c', '0')], '{"a":12345678901234567890,"b":2}'],
  ['{"a":1}', [set('a', '2'), set('a', '3')], '{"a":3}'],
]

for (const [body, todo, out] of literal) {
  test(`${body} becomes ${out} (${todo.map(edit => `${edit.kind} ${edit.name}`).join(', ')})`, t => {
    t.is(editBody(Buffer.from(body), todo).toString(), out)
  })
}

test('the client’s own memory is neither written to nor shared', t => {
  const body = Buffer.from('{"a":1,"b":2}')
  const copies = [editBody(body, []), editBody(body, [set('a', '7')])]
  t.deepEqual(body.toString(), '{"a":1,"b":2}')
  body.fill(0)
  t.deepEqual(copies.map(String), ['{"a":1,"b":2}', '{"a":7,"b":2}'])
})

test('a field and the length of an array are what JSON.parse says', t => {
  fc.assert(
    fc.property(bodies, values, ({ json, members: all }, value) => {
      for (const name of NAMES) {
        t.is(fieldOf(Buffer.from(json), name)?.toString(), all.findLast(each => each.name === name)?.value)
      }
      const parsed: unknown = JSON.parse(value)
      t.is(arrayLength(Buffer.from(value)), Array.isArray(parsed) ? parsed.length : undefined)
      if (Array.isArray(parsed)) {
        t.deepEqual(
          [...elementsOf(Buffer.from(value))].map((each): unknown => JSON.parse(each.toString())),
          parsed,
        )
      }
    }),
  )
})

test('strings are skipped whole wherever their backslashes and quotes fall', t => {
  // Around the length that is looked at byte by byte before the search.
  for (let length = 40; length < 60; length++) {
    for (let slashes = 0; slashes < 8; slashes++) {
      const value = `${'x'.repeat(length)}${'\\'.repeat(slashes)}"${'y'.repeat(60)}\\`
      const body = JSON.stringify({ prompt: value, stream: true })
      const out = editBody(Buffer.from(body), [set('stream', 'false')])
      t.deepEqual(JSON.parse(out.toString()), { prompt: value, stream: false })
    }
  }
})

test('garbage ends, at worst in an internal error', t => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 200 }).map(each => Buffer.from(each)),
    fc
      .array(fc.constantFrom('{', '}', '[', ']', '"', '\\', ':', ',', ' ', 'a', '1', '"n"', '\\u'), {
        maxLength: 40,
      })
      .map(each => Buffer.from(`{${each.join('')}`)),
    fc.tuple(bodies, fc.nat()).map(([{ json }, at]) => Buffer.from(json.slice(0, at % (json.length + 1)))),
  )
  let broken = 0
  fc.assert(
    fc.property(bytes, edits, (body, todo) => {
      try {
        editBody(body, todo)
        fieldOf(body, 'n')
      } catch (error) {
        broken++
        if (!(error instanceof PhylloError && error.code === 'internal_error')) throw error
      }
      try {
        arrayLength(body)
      } catch (error) {
        if (!(error instanceof PhylloError && error.code === 'internal_error')) throw error
      }
    }),
    { numRuns: 2000 },
  )
  t.true(broken > 0)
})

test('nesting takes no stack', t => {
  const deep = `{"a":${'['.repeat(200_000)}${']'.repeat(200_000)},"n":1}`
  t.is(fieldOf(Buffer.from(deep), 'n')?.toString(), '1')
})
