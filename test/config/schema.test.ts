// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to environment variables look like this
/** The schema: what it says of itself, and that it says the same as the server's interface. */
import { readFileSync } from 'node:fs'
import test from 'ava'
import { parse } from 'yaml'
import { z } from 'zod'
import { editorSchema } from '#phyllo/config/editor-schema.js'
import { configJsonSchema } from '#phyllo/config/json-schema.js'
import { loadConfig, parseConfig } from '#phyllo/config/load.js'
import type { RouterConfig } from '#phyllo/config/schema.js'
import type { RouterOptions } from '#phyllo/server/options.js'
import type { JsonSchema } from '#phyllo/yaml/json-schema.js'

/** Dotted names of all fields, list items included: a field on one side only makes the two unions differ. */
type Fields<T> = T extends string | number | boolean | undefined
  ? never
  : T extends readonly (infer Item)[]
    ? Fields<Item>
    : { [K in keyof T & string]: K | `${K}.${Fields<Exclude<T[K], undefined>>}` }[keyof T & string]
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false
const sameFields: Same<Fields<RouterConfig>, Fields<RouterOptions>> = true
const sameTypes: RouterConfig extends RouterOptions ? true : false = true
// The comparison can fail: without one field, or with one more, it does.
const misses: Same<Fields<Omit<RouterConfig, 'log'>>, Fields<RouterOptions>> = false
const exceeds: Same<Fields<RouterConfig & { more: { field: 1 } }>, Fields<RouterOptions>> = false

test("the schema's output has the fields of the server's options, and no others", t => {
  t.deepEqual([sameFields, sameTypes, misses, exceeds], [true, true, false, false])
})

function* fields(
  schema: JsonSchema,
  path = '',
): Generator<{ path: string; field: JsonSchema; required: boolean }> {
  for (const [key, field] of Object.entries(schema.properties ?? {})) {
    if (typeof field !== 'object') continue
    yield { path: `${path}${key}`, field, required: schema.required?.includes(key) ?? false }
    yield* fields(field, `${path}${key}.`)
    if (typeof field.items === 'object' && !Array.isArray(field.items))
      yield* fields(field.items, `${path}${key}[].`)
    for (const form of field.anyOf ?? []) if (typeof form === 'object') yield* fields(form, `${path}${key}.`)
  }
}
const all = [...fields(configJsonSchema())].filter(({ path }) => !path.startsWith('profiles.'))

test('every field is described, and has a default, says what stands for one, or is required', t => {
  t.true(all.length > 50, String(all.length))
  for (const { path, field, required } of all) {
    t.true((field.description ?? '').length > 5, path)
    const isSettled = required || field.default !== undefined || /Default: /.test(field.description ?? '')
    t.true(isSettled || field.type === 'array', path)
  }
})

test('every time and size names its unit', t => {
  const times = all.filter(({ path }) => path.endsWith('Ms'))
  const sizes = all.filter(({ path }) => path.endsWith('Bytes'))
  t.true(times.length > 10 && sizes.length > 2)
  for (const { path, field } of times) t.regex(field.description ?? '', /In milliseconds\.$/, path)
  for (const { path, field } of sizes) t.regex(field.description ?? '', /In bytes\.$/, path)
})

test('every map of the schema refuses unknown keys', t => {
  for (const { path, field } of all) {
    if (field.type !== 'object' || field.properties === undefined) continue
    t.is(field.additionalProperties, false, path)
  }
})

test('an empty file is all defaults, and they are the documented ones', t => {
  const result = parseConfig('', { env: {} })
  t.true(result.ok)
  const config: object = result.ok ? result.config : {}
  // A section without a default (`discovery.file`) is not there unless it is written.
  const absent = all.filter(({ field }) => field.type === 'object' && field.default === undefined)
  for (const { path, field } of all) {
    if (path.includes('[]') || field.default === undefined || field.type === 'object') continue
    if (absent.some(section => path.startsWith(`${section.path}.`))) continue
    const value = path
      .split('.')
      .reduce<unknown>((at, key) => Object.entries(at ?? {}).find(([k]) => k === key)?.[1], config)
    t.deepEqual(value, field.default, path)
  }
})

test('a section without content has its defaults', t => {
  const result = parseConfig('listen:\npods:\ntimeouts:\n  # connectMs: 1\n', { env: {} })
  t.deepEqual(result, parseConfig('', { env: {} }))
})

const exampleFile = new URL('../../../phyllo.example.yaml', import.meta.url)

test('the example is accepted, with the values that its comments promise', t => {
  const result = loadConfig(exampleFile.pathname, { env: {} })
  t.deepEqual(result.ok ? [] : result.issues, [])
  if (!result.ok) return
  const { config } = result
  const defaults = parseConfig('', { env: {} })
  if (!defaults.ok) return t.fail()
  const { pods, models, passthrough, ...settings } = config
  const { pods: _p, models: _m, passthrough: _x, profiles: _y, ...expected } = defaults.config
  const { profiles: _own, ...rest } = settings
  t.deepEqual(rest, expected, 'all that is not pods, models, profiles or paths is the default')
  t.deepEqual(
    pods.map(pod => [pod.id, pod.url, pod.labels]),
    [
      ['10.0.0.11:8000', 'http://10.0.0.11:8000', { hardware: 'a10g', zone: 'local' }],
      ['second', 'http://10.0.0.12:8000', { hardware: 'a10g', zone: 'local' }],
      ['engines.example.com:443/llama', 'https://engines.example.com/llama', {}],
      ['10.0.0.13:8000', 'http://10.0.0.13:8000', {}],
    ],
  )
  t.deepEqual(
    models.map(model => model.name),
    ['qwen3', 'qwen3-next', '*'],
  )
  t.deepEqual(passthrough, ['/rerank', '/v1/rerank', '/score'])
})

test('the example names every field there is', t => {
  const words = new Set(readFileSync(exampleFile, 'utf8').match(/\w+(?=:)/g))
  for (const { path } of all) t.true(words.has(path.replace(/^.*\./, '')), path)
})

test('the JSON Schema for editors accepts the example and refuses what the loader refuses', t => {
  const schema: unknown = JSON.parse(JSON.stringify(editorSchema()))
  if (typeof schema !== 'object' || schema === null) return t.fail()
  t.like(schema, {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    additionalProperties: false,
  })
  // zod reads its own kind of schema back, though not patternProperties beside additionalProperties.
  const { patternProperties: _, ...readable } = editorSchema()
  const check = z.fromJSONSchema(JSON.parse(JSON.stringify(readable)))
  const example = Object.entries(parse(readFileSync(exampleFile, 'utf8'), { merge: true }) ?? {})
  const accepted = check.safeParse(Object.fromEntries(example.filter(([key]) => !key.startsWith('x-'))))
  t.deepEqual(accepted.error?.issues ?? [], [])
  for (const bad of [
    { listen: { prot: 1 } },
    { listen: { port: '80' } },
    { pods: [{}] },
    { cache: { width: 100 } },
  ]) {
    t.false(check.safeParse(bad).success, JSON.stringify(bad))
  }
  t.true(check.safeParse({ listen: { port: '${PORT}', engine: '${ENGINE:-uws}' } }).success)
})
