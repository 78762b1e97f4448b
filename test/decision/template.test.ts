/** The template of a plugin, as its README has one use it: copied, compiled, checked, and deciding. */
import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test from 'ava'
import { formatIssues, parseConfig } from '#phyllo/config/load.js'
import { profileFromConfig } from '#phyllo/decision/from-config.js'
import { plugins } from '#phyllo/decision/registry.js'
import { single as singleWorkflow } from '#phyllo/execution/workflows/single.js'
import { fleetOf } from './helpers.js'

const root = fileURLToPath(new URL('../../../', import.meta.url))

test('each command of its README reads the configuration that it names', t => {
  const folder = mkdtempSync(join(tmpdir(), 'phyllo-template-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  writeFileSync(join(folder, 'phyllo.yaml'), 'nonsense: 1\n')
  const readme = readFileSync(join(root, 'templates/plugin/README.md'), 'utf8')
  const commands = [...readme.matchAll(/^npx phyllo (.*)$/gm)].map(([, words = '']) => words.split(' '))
  t.deepEqual(
    commands.map(([command]) => command),
    ['check', 'serve'],
  )
  for (const words of commands) {
    const main = join(root, 'dist/cli/main.js')
    const { status, stderr } = spawnSync(process.execPath, [main, ...words], {
      cwd: folder,
      encoding: 'utf8',
    })
    t.not(status, 0)
    t.regex(stderr, /nonsense/, words.join(' '))
  }
})

test('the template compiles, passes the check, and prefers the tier that is asked for', t => {
  const folder = mkdtempSync(join(tmpdir(), 'phyllo-template-'))
  t.teardown(() => rmSync(folder, { recursive: true }))
  cpSync(join(root, 'templates/plugin'), folder, { recursive: true })
  mkdirSync(join(folder, 'node_modules'))
  symlinkSync(root, join(folder, 'node_modules/phyllo'), 'dir')
  const compiler = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
  t.notThrows(() => execFileSync(process.execPath, [compiler, '-p', folder], { encoding: 'utf8' }))

  const yaml = readFileSync(join(folder, 'phyllo.yaml'), 'utf8')
  const loaded = parseConfig(yaml, { baseDir: folder })
  if (!loaded.ok) return t.fail(formatIssues(loaded.issues))
  if (!plugins.execute.has('single')) plugins.register(singleWorkflow)
  const result = profileFromConfig('tiered', loaded.config.profiles['tiered'])
  if (!result.ok) return t.fail(JSON.stringify(result.issues))

  const { worker } = fleetOf(3)
  const infos = [0, 1, 2].flatMap(slot => worker.pods.bySlot(slot) ?? [])
  worker.update(infos.map((info, slot) => ({ ...info, labels: slot === 1 ? { tier: 'gold' } : {} })))
  const compiled = worker.compile(result.profile, { registry: plugins })
  for (let i = 0; i < 10; i++)
    t.is(worker.route(compiled, worker.request({ messages: [] }, ['x-tier', 'gold']))[0], 1)
  const others = new Set(
    Array.from({ length: 60 }, () => worker.route(compiled, worker.request({ messages: [] }))[0]),
  )
  t.is(others.size, 3)

  const wrong = parseConfig(yaml.replace('header: x-tier', 'haeder: x-tier'), { baseDir: folder })
  t.regex(wrong.ok ? '' : formatIssues(wrong.issues), /unknown option 'haeder'/)
})
