import test from 'ava'
import { parse } from 'yaml'
import { z } from 'zod'
import { configSchema } from '#phyllo/decision/config-schema.js'
import { filter, scorer } from '#phyllo/decision/factories.js'
import { type ConfigIssue, profileFromConfig, profileToConfig } from '#phyllo/decision/from-config.js'
import { PluginRegistry } from '#phyllo/decision/registry.js'
import { slot } from '#phyllo/decision/slot.js'
import { testRegistry } from './helpers.js'

const sound = `
prepare: [tokenize, hash-blocks, match-prefix, { session-key: { headers: [x-chat] } }]
filter: [healthy, { concurrency-cap: { factor: 1.5 } }]
score: [{ prefix-overlap: { weight: 3 } }, session-affinity, { least-load: }]
pick: { max-score: { tieBreak: rotate } }
execute: single
`

function issues(yaml: string, registry = testRegistry()): readonly ConfigIssue[] {
  const result = profileFromConfig('mine', parse(yaml), registry)
  return result.ok ? [] : result.issues
}

/** The sound profile with one line exchanged. */
const withLine = (stage: string, line: string) => sound.replace(new RegExp(`^${stage}:.*$`, 'm'), line)

test('a sound profile loads, with weights and defaults', t => {
  const result = profileFromConfig('mine', parse(sound), testRegistry())
  t.true(result.ok)
  if (!result.ok) return
  t.is(result.profile.name, 'mine')
  t.deepEqual(
    result.profile.score.map(({ name, weight }) => [name, weight]),
    [
      ['prefix-overlap', 3],
      ['session-affinity', 1],
      ['least-load', 1],
    ],
  )
  t.is(result.profile.execute.name, 'single')
})

test('a profile written out again loads as the same', t => {
  const first = profileFromConfig('mine', parse(sound), testRegistry())
  if (!first.ok) return t.fail(JSON.stringify(first.issues))
  const data = profileToConfig(first.profile)
  const second = profileFromConfig('mine', JSON.parse(JSON.stringify(data)), testRegistry())
  t.true(second.ok && second.profile.score[0]?.weight === 3)
  if (second.ok) t.deepEqual(profileToConfig(second.profile), data)
})

test('a missing slot: plugin, slot and suppliers, at the plugin’s place', t => {
  t.deepEqual(issues(withLine('prepare', 'prepare: [tokenize, session-key]')), [
    {
      path: ['score', 0],
      message:
        "plugin 'prefix-overlap' reads slot 'cachedTokens', which nothing before it writes; " +
        "add to prepare, before it: 'match-prefix'",
    },
  ])
  t.deepEqual(
    issues(withLine('prepare', 'prepare: [tokenize, match-prefix, hash-blocks, session-key]')).map(
      ({ path }) => path,
    ),
    [['prepare', 1]],
  )
  t.deepEqual(issues(withLine('pick', 'pick: hash-ring')), [
    {
      path: ['pick'],
      message:
        "plugin 'hash-ring' reads slot 'affinityKey', which nothing before it writes; " +
        "add to prepare, before it: 'affinity-key' or 'prefix-key'",
    },
  ])
})

test('a slot that no registered plugin writes says so', t => {
  const tenant = slot('tenant').of<string>()
  const tenantPods = filter({ name: 'tenant-pods', summary: '.', reads: [tenant], filter() {} })
  const registry = testRegistry()
  registry.register(tenantPods)
  t.deepEqual(issues(withLine('filter', 'filter: [tenant-pods]'), registry), [
    {
      path: ['filter', 0],
      message:
        "plugin 'tenant-pods' reads slot 'tenant', which nothing before it writes; no registered plugin writes it",
    },
  ])
})

test('options: each fault at its own path', t => {
  t.deepEqual(
    issues(
      withLine('score', 'score: [{ prefix-overlap: { weight: -1, slak: 3 } }, { least-load: { slack: x } }]'),
    ),
    [
      {
        path: ['score', 0, 'prefix-overlap', 'weight'],
        message: "plugin 'prefix-overlap': Too small: expected number to be >0",
      },
      {
        path: ['score', 0, 'prefix-overlap', 'slak'],
        message: "plugin 'prefix-overlap': unknown option 'slak' (options: weight)",
      },
      {
        path: ['score', 1, 'least-load', 'slack'],
        message: "plugin 'least-load': Invalid input: expected number, received string",
      },
    ],
  )
  t.deepEqual(issues(withLine('filter', 'filter: [{ healthy: { deep: true } }, concurrency-cap]')), [
    {
      path: ['filter', 0, 'healthy', 'deep'],
      message: "plugin 'healthy': unknown option 'deep' (there are none)",
    },
    {
      path: ['filter', 1, 'concurrency-cap'],
      message: "plugin 'concurrency-cap': needs 'max', 'factor' or both",
    },
  ])
  t.deepEqual(
    issues(withLine('filter', 'filter: [{ healthy: 3 }]')).map(({ path }) => path),
    [['filter', 0, 'healthy']],
  )
})

test('unknown and misplaced plugins, with what was probably meant', t => {
  t.deepEqual(issues(withLine('score', 'score: [prefix-overlp]')), [
    { path: ['score', 0], message: "unknown score plugin 'prefix-overlp'; did you mean 'prefix-overlap'?" },
  ])
  t.deepEqual(issues(withLine('execute', 'execute: teleport')), [
    { path: ['execute'], message: "unknown execute plugin 'teleport' (known: single)" },
  ])
  t.deepEqual(issues(withLine('filter', 'filter: [least-load]')), [
    { path: ['filter', 0], message: "plugin 'least-load' belongs under 'score', not under 'filter'" },
  ])
})

test('shapes that are no profile', t => {
  t.deepEqual(
    issues('filters: [healthy]').map(({ path }) => path),
    [['filters'], ['pick'], ['execute']],
  )
  t.is(issues('filters: [healthy]')[0]?.message, "unknown stage 'filters'; did you mean 'filter'?")
  t.is(issues('pick: random')[0]?.message, "a profile needs 'execute' (one of: single)")
  t.deepEqual(issues(withLine('filter', 'filter: healthy'))[0], {
    path: ['filter'],
    message: "'filter' is a list of plugins",
  })
  for (const bad of ['[{}]', '[{ healthy: , circuit-closed: }]', '[7]', '[[healthy]]', '[null]']) {
    t.deepEqual(
      issues(withLine('filter', `filter: ${bad}`)).map(({ path }) => path),
      [['filter', 0]],
      bad,
    )
  }
  for (const bad of ['7', 'healthy', '[healthy]', '']) t.deepEqual(issues(bad)[0]?.path, [], bad)
  t.deepEqual(issues(withLine('filter', 'filter:')), [])
})

test('names of JavaScript’s own are no plugins', t => {
  for (const name of ['constructor', '__proto__', 'toString']) {
    t.regex(issues(withLine('filter', `filter: ["${name}"]`))[0]?.message ?? '', /^unknown filter plugin/)
  }
})

test('two plugins of one name and stage are refused; in another stage it is another plugin', t => {
  const registry = new PluginRegistry()
  const clash = scorer({ name: 'mine', summary: '.', score() {} })
  registry.register(clash)
  t.throws(() => registry.register(clash), { message: "there is a score plugin 'mine' already" })
  registry.register(filter({ name: 'mine', summary: '.', filter() {} }))
  t.deepEqual(registry.stagesOf('mine'), ['filter', 'score'])
})

test('the schema for editors knows every plugin, and every option says what it is', t => {
  const registry = testRegistry()
  const schema = configSchema(registry)
  t.true(schema.safeParse(parse(sound)).success)
  t.false(schema.safeParse(parse(withLine('score', 'score: [{ prefix-overlap: { wieght: 3 } }]'))).success)
  t.false(schema.safeParse(parse(withLine('filter', 'filter: [concurrency-cap]'))).success)
  t.false(schema.safeParse(parse(withLine('pick', 'pick: healthy'))).success)
  const json = JSON.stringify(z.toJSONSchema(schema, { io: 'input' }))
  for (const stage of ['prepare', 'filter', 'score', 'pick', 'execute'] as const) {
    for (const [name, factory] of registry[stage]) {
      t.true(json.includes(`"${name}"`), name)
      t.regex(factory.summary, /^[A-Z].*\.$/)
      for (const [option, type] of Object.entries(factory.schema.shape)) {
        t.true(
          type instanceof z.ZodType && (type.description ?? '') !== '',
          `${name}.${option} has no description`,
        )
      }
    }
  }
})
