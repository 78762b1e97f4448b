/** Models: loaded at the start or when they are first heard of, and what is said of it. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join as joinPath } from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { configSchema, toRouterOptions } from '#phyllo/config/schema.js'
import { loadNative } from '#phyllo/data/native.js'
import { makePod, namesOf } from '#phyllo/data/pod.js'
import { NO_KV_EVENTS } from '#phyllo/data/pod-events.js'
import { ModelTable } from '#phyllo/server/model-table.js'
import { startRouter } from '#phyllo/server/router.js'
import { createLogger } from '#phyllo/telemetry/log.js'
import { refOf } from '../data/kv-events/receiver-kit.js'
import { STATE_OPTIONS } from '../data/state-options.js'
import { modelDir, until } from './router-kit.js'

let tables = 0

/** A model table, its native state, and the messages of its log. */
function tableFor(
  t: ExecutionContext,
  models: readonly { name: string; dir?: string; aliases?: string[] }[],
) {
  const name = `model-table-${process.pid}-${++tables}`
  const state = loadNative().SharedState.open(name, STATE_OPTIONS)
  t.teardown(() => void loadNative().SharedState.close(name))
  const lines: string[] = []
  const write = (line: string) => {
    const entry: unknown = JSON.parse(line)
    if (typeof entry === 'object' && entry !== null && 'msg' in entry) lines.push(String(entry.msg))
  }
  const options = toRouterOptions(configSchema.parse({ models: models.map(model => ({ ...model })) }))
  const table = new ModelTable(state, options, createLogger({ level: 'info', format: 'json' }, {}, { write }))
  const idOf = (model: string) => table.models.find(each => each.name === model)?.id ?? -1
  return { state, table, lines, idOf }
}

/** A copy of the demo's model, to do things to. */
function copyFor(t: ExecutionContext): string {
  const dir = mkdtempSync(joinPath(tmpdir(), 'phyllo-model-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  cpSync(modelDir, dir, { recursive: true })
  return dir
}

test('what is configured is loaded at the start, several at once, and said', async t => {
  const dirs = [copyFor(t), copyFor(t)]
  const { state, table, lines, idOf } = tableFor(t, [
    { name: 'a', dir: dirs[0] ?? '', aliases: ['gpt'] },
    { name: 'b', dir: dirs[1] ?? '' },
    { name: 'c' },
  ])
  await table.load()
  t.deepEqual(
    table.models.map(({ name }) => name),
    ['a', 'b', 'c'],
  )
  t.deepEqual(table.models[0]?.aliases, ['gpt'])
  t.deepEqual(
    ['a', 'b'].map(name => state.modelFallback(idOf(name))),
    [null, null],
  )
  const first = lines.slice(0, 2)
  t.deepEqual(first, [
    `model a: loading its tokenizer from ${dirs[0]}`,
    `model b: loading its tokenizer from ${dirs[1]}`,
  ])
  for (const name of ['a', 'b'])
    t.is(
      lines.filter(line => new RegExp(`^model ${name}: tokenizer loaded in \\d+\\.\\d s$`).test(line)).length,
      1,
    )
  t.regex(lines.at(-1) ?? '', /^model 'c' has no tokenizer/)
})

test('a fault in the files of a model ends the start, with the file and the reason', async t => {
  const broken = copyFor(t)
  writeFileSync(joinPath(broken, 'tokenizer.json'), '{"model": {')
  for (const name of ['q', '*']) {
    const { table } = tableFor(t, [
      { name: 'fine', dir: modelDir },
      { name, dir: broken },
    ])
    await t.throwsAsync(table.load(), { message: /tokenizer\.json/ })
    const options = configSchema.parse({
      listen: { host: '127.0.0.1', port: 0, workers: 1, engine: 'node' },
      admin: { port: 0 },
      log: { level: 'silent' },
      models: [{ name, dir: broken }],
    })
    await t.throwsAsync(startRouter(toRouterOptions(options)), { message: /tokenizer\.json/ })
  }
})

test('a model first heard of from a pod is there at once, by text, and by tokens once its files are loaded', async t => {
  const { state, table, lines, idOf } = tableFor(t, [{ name: '*', dir: modelDir }])
  await table.load()
  t.deepEqual(table.models, [], 'what stands for any model serves none')
  table.heard([{ id: 'tiny' }])
  t.deepEqual(
    table.models.map(({ name }) => name),
    ['tiny'],
  )
  t.not(state.modelFallback(idOf('tiny')), null, 'by text')
  table.learn('tiny')
  await until(() => state.modelFallback(idOf('tiny')) === null, 'its files are loaded')
  await until(() => lines.some(line => /^model tiny: tokenizer loaded in/.test(line)), 'it is said')
  t.deepEqual(
    lines.filter(line => line.includes('tiny')).map(line => line.replace(/[\d.]+ s$/, 'n s')),
    [`model tiny: loading its tokenizer from ${modelDir}`, 'model tiny: tokenizer loaded in n s'],
    'once, and no word of a missing tokenizer',
  )
})

test('files that went bad after the start: said, and the model is matched by text', async t => {
  const dir = copyFor(t)
  const { state, table, lines, idOf } = tableFor(t, [{ name: '*', dir }])
  await table.load()
  writeFileSync(joinPath(dir, 'tokenizer.json'), 'nothing')
  table.learn('late')
  const fault = /^model late: its prompts are matched by text, for its files do not load: .*tokenizer\.json/
  await until(() => lines.some(line => fault.test(line)), 'it is said')
  t.not(state.modelFallback(idOf('late')), null)
})

test('a model without any files says once that it is matched by text', async t => {
  const { table, lines } = tableFor(t, [])
  await table.load()
  table.learn('tiny')
  table.heard([{ id: 'tiny' }, { id: 'tiny' }])
  t.is(lines.filter(line => line.includes("model 'tiny' has no tokenizer")).length, 1)
})

test('names of one model, as an alias or by the files that its pods run, share its tokenizer and blocks', async t => {
  const { state, table, idOf } = tableFor(t, [{ name: 'a', dir: modelDir, aliases: ['nick'] }])
  await table.load()
  const root = '/models/a'
  table.heard([
    { id: 'nick', root },
    { id: 'other', root },
    { id: 'adapter', root: '/adapters/x', parent: 'nick' },
    { id: 'twin', root: '/adapters/x', parent: 'nick' },
    { id: 'stranger' },
  ])
  t.deepEqual(
    ['nick', 'other', 'adapter', 'twin', 'stranger'].map(name => table.nameOf(name)),
    ['a', 'a', 'adapter', 'twin', 'stranger'],
  )
  t.deepEqual([idOf('nick'), idOf('other')], [idOf('a'), idOf('a')])
  t.is(new Set(['a', 'adapter', 'twin', 'stranger'].map(idOf)).size, 4)
  t.is(state.modelFallback(idOf('nick')), null, 'by tokens')
  // What is known under a name of its own keeps it.
  table.heard([
    { id: 'a', root: '/models/b' },
    { id: 'stranger', root: '/models/b' },
  ])
  t.is(table.nameOf('stranger'), 'stranger')
})

test('an alias that pods list themselves is listed once, as they put it', async t => {
  const { table } = tableFor(t, [{ name: 'a', aliases: ['nick', 'pet'] }])
  await table.load()
  table.heard([{ id: 'a' }, { id: 'nick', root: 'r' }])
  const served = { id: 'p', url: 'http://p:1', models: ['a', 'nick'] }
  const { list } = table.list([makePod(served, namesOf(served, undefined), refOf(0), NO_KV_EVENTS)])
  const ids: unknown = JSON.parse(list)
  t.like(ids, { data: [{ id: 'a' }, { id: 'nick', root: 'r' }, { id: 'pet', root: 'a' }] })
  t.is(list.split('"id"').length - 1, 3)
})

test('a pod whose variant nobody knows is said once, and is like any other', async t => {
  const { table, lines } = tableFor(t, [{ name: 'a' }])
  await table.load()
  const spec = { id: 'p', url: 'http://p:1', models: ['a'], variant: 'a-nxt' }
  const pods = [makePod(spec, namesOf(spec, undefined), refOf(0), NO_KV_EVENTS)]
  for (let i = 0; i < 3; i++) table.refreshChains(pods)
  t.deepEqual(
    lines.filter(line => line.includes('a-nxt')),
    ["pod p: its variant 'a-nxt' is not among models:, so its prompts are as its model's"],
  )
})
