// Runs the TypeScript tests on other Node versions, whose binaries come from npm's `node` package into .cache/.
// Usage: node scripts/test-on-nodes.mjs 22 24
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const seconds = since => `${Math.round((performance.now() - since) / 1000)} s`

/** Runs a command with its output on ours; true if it went well. */
function run(command, args, env = process.env) {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit', cwd: root, env })
  if (error) console.error(`${command}: ${error.message}`)
  return status === 0
}

/** Output of a command; undefined if it is not there or fails. */
function output(command, args) {
  const { status, stdout } = spawnSync(command, args, { encoding: 'utf8', cwd: root })
  return status === 0 ? stdout.trim() : undefined
}

/** The binary of a major version, fetched unless it is there; undefined if it cannot be had. */
function nodeOf(major) {
  const home = join(root, '.cache', `node-${major}`)
  const node = join(home, 'node_modules', 'node', 'bin', 'node')
  const fits = () => output(node, ['-p', 'process.versions.node.split(".")[0]']) === major
  if (fits()) return node
  console.log(`== Node ${major}: fetching it from npm …`)
  rmSync(home, { recursive: true, force: true })
  const install = ['install', '--silent', '--no-save', '--no-audit', '--no-fund', '--prefix', home]
  // Its install script puts the binary in place, which a user's `ignore-scripts` would prevent.
  run('npm', [...install, '--ignore-scripts=false', `node@${major}`])
  return fits() ? node : undefined
}

/** Why uWebSockets.js does not load on that Node here; empty if it does. */
function uwsFault(node) {
  const probe =
    "import('uWebSockets.js').then(() => '', error => String(error.message).trim().split('\\n').at(-1)).then(console.log)"
  const message = output(node, ['-e', probe]) ?? 'loading it ends the process'
  return message.replace(/^Error: | \(required by [^)]*\)/g, '')
}

/**
 * What takes minutes and asks nothing of a Node version that other tests do not: the whole matrix of faults, random
 * sequences of them, and simulations in virtual time. They run on the Node that `npm test` is started with.
 */
const files = [
  'build/test/**/*.test.js',
  '!build/test/server/prefill-decode/{faults,exhausted,encode}.test.js',
  '!build/test/server/prefill-decode/property.test.js',
  '!build/test/simulation/tune/*.test.js',
  '!build/test/simulation/virtual/*.test.js',
  '!build/test/cli/{simulate,tune}.test.js',
]

/** All tests on one version; a line for the summary. */
function testOn(major) {
  const started = performance.now()
  const node = nodeOf(major)
  if (node === undefined) return { ok: false, line: `Node ${major}: FAILED, its binary could not be had` }
  const version = output(node, ['--version'])
  const fault = uwsFault(node)
  const uws = fault === '' ? 'uWebSockets.js RUN' : `uWebSockets.js NOT RUN (${fault})`
  console.log(`== Node ${version}: the tests start; ${uws}`)
  // ava starts its workers, and tests their children, with process.execPath; the path is for whoever says `node`.
  const env = { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env.PATH}` }
  const ok = run(node, ['node_modules/ava/entrypoints/cli.mjs', ...files], env)
  const result = `${ok ? 'passed' : 'FAILED'} in ${seconds(started)}; ${uws}`
  console.log(`== Node ${version}: ${result}`)
  return { ok, line: `Node ${version}: ${result}` }
}

const majors = process.argv.slice(2)
if (majors.length === 0 || majors.some(major => !/^\d+$/.test(major))) {
  console.error('usage: node scripts/test-on-nodes.mjs MAJOR…, as in 22 24')
  process.exit(2)
}
console.log('== building the tests …')
if (!run(process.execPath, ['node_modules/typescript/bin/tsc', '-b', 'tsconfig.json', 'tsconfig.test.json']))
  process.exit(1)
const results = majors.map(testOn)
console.log('== summary')
for (const { line } of results) console.log(line)
process.exit(results.every(({ ok }) => ok) ? 0 : 1)
