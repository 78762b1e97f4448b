/** Users' own plugins, from the module to a request on a real port. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { formatIssues, parseConfig } from '#phyllo/config/load.js'
import { plugins } from '#phyllo/decision/registry.js'
import { startRouter } from '#phyllo/server/router.js'
import { enginesFor, podOf } from '../server/router-kit.js'

const fixtures = fileURLToPath(new URL('../../../test/config/fixtures/', import.meta.url))

const zoned = (options: string): string =>
  [
    'plugins: [label-match.mjs]',
    'profiles:',
    '  zoned:',
    `    score: [{ label-match: ${options} }]`,
    '    pick: max-score',
    '    execute: single',
    'defaults: { profile: zoned }',
  ].join('\n')

test('a plugin from a module serves in every worker', async t => {
  const { pods } = await enginesFor(t, 3)
  const yaml = [
    zoned('{ label: zone, value: b }'),
    'listen: { host: 127.0.0.1, port: 0, workers: 2 }',
    'admin: { port: 0 }',
    'log: { level: silent }',
    `pods: ${JSON.stringify(pods.map(pod => ({ ...pod, labels: { zone: pod.id } })))}`,
  ].join('\n')
  const loaded = parseConfig(yaml, { baseDir: fixtures })
  if (!loaded.ok) return t.fail(formatIssues(loaded.issues))
  const router = await startRouter(loaded.config)
  t.teardown(() => router.close())
  for (let i = 0; i < 10; i++) t.is(await podOf(router), 'b')
})

test('plugins that fail cost a fallback pick and are counted; the process goes on', async t => {
  const { pods } = await enginesFor(t, 2)
  const yaml = [
    'plugins: [failing.mjs]',
    'profiles:',
    '  failing:',
    '    prepare: [failing-later]',
    '    filter: [healthy]',
    '    score: [failing-score, least-load]',
    '    pick: failing-pick',
    '    execute: single',
    'defaults: { profile: failing }',
    'listen: { host: 127.0.0.1, port: 0, workers: 2 }',
    'admin: { port: 0 }',
    'log: { level: silent }',
    `pods: ${JSON.stringify(pods)}`,
  ].join('\n')
  const loaded = parseConfig(yaml, { baseDir: fixtures })
  if (!loaded.ok) return t.fail(formatIssues(loaded.issues))
  const router = await startRouter(loaded.config)
  t.teardown(() => router.close())
  const ids = pods.map(({ id }) => id)
  for (let i = 0; i < 10; i++) t.true(ids.includes(await podOf(router)))
  const page = await (await fetch(`${router.adminUrl}/metrics`)).text()
  t.regex(page, /phyllo_plugin_failures_total 30\n/)
})

test('its options are checked like those of the built-in ones', t => {
  const loaded = parseConfig(zoned('{ label: zone, vaule: b }'), { baseDir: fixtures })
  const issues = loaded.ok ? '' : formatIssues(loaded.issues)
  t.regex(issues, /profiles\.zoned\.score\[0\]\.label-match/)
  t.regex(issues, /vaule/)
})

test('a module that is not there, throws, holds no plugin or takes a known name is told with its place', t => {
  const folder = mkdtempSync(join(tmpdir(), 'phyllo-plugins-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const issueOf = (name: string, source: string | null): string => {
    if (source !== null) writeFileSync(join(folder, name), source)
    const loaded = parseConfig(`plugins:\n  - ${name}\n`, { baseDir: folder })
    return loaded.ok ? 'none' : formatIssues(loaded.issues)
  }
  t.regex(
    issueOf('missing.mjs', null),
    /2:5.*plugins\[0\].*cannot use the module "missing\.mjs": Cannot find/s,
  )
  t.regex(issueOf('throws.mjs', 'throw new Error("no such GPU")'), /"throws\.mjs": no such GPU/)
  t.regex(issueOf('empty.mjs', 'export const scorer = () => 1'), /"empty\.mjs": it exports no plugin/)
  const index = JSON.stringify(import.meta.resolve('phyllo'))
  const taken = `import { scorer } from ${index}\nexport const a = scorer({ name: 'least-load', summary: '', score() {} })`
  t.regex(issueOf('taken.mjs', taken), /"taken\.mjs": there is a score plugin 'least-load' already/)
})

test('of a module that is refused nothing stays, and one plugin may be all that a module is', t => {
  const folder = mkdtempSync(join(tmpdir(), 'phyllo-plugins-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  const issuesOf = (name: string, source: string): string => {
    writeFileSync(join(folder, name), source)
    const loaded = parseConfig(`plugins:\n  - ${name}\n`, { baseDir: folder })
    return loaded.ok ? 'none' : formatIssues(loaded.issues)
  }
  const make = (name: string) => `scorer({ name: '${name}', summary: '', score() {} })`
  const index = JSON.stringify(import.meta.resolve('phyllo'))
  const both = `import { scorer } from ${index}\nexport const a = ${make('half-way')}\nexport const b = ${make('queue')}`
  t.regex(issuesOf('both.mjs', both), /there is a score plugin 'queue' already/)
  t.false(plugins.score.has('half-way'))
  const mended = both.replace("'queue'", "'queue-of-mine'")
  t.is(issuesOf('mended.mjs', mended), 'none')
  t.true(plugins.score.has('half-way') && plugins.score.has('queue-of-mine'))
  const path = JSON.stringify(fileURLToPath(import.meta.resolve('phyllo')))
  const whole = `const { scorer } = require(${path})\nmodule.exports = ${make('whole-module')}`
  t.is(issuesOf('whole.cjs', whole), 'none')
  t.true(plugins.score.has('whole-module'))
})
