/** `phyllo engine` as a process: serves, and ends on a signal. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const main = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))

test('engine says its address, answers there, and exits 0 on SIGTERM', async t => {
  const args = [main, 'engine', '--port', '0', '--listen', 'node', '--model', '7', '--speed', '100']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  const [line] = await once(child.stderr, 'data')
  const url = /http:\/\/[\d.:]+/.exec(String(line))?.[0]
  t.regex(String(line), /model 7\n$/, 'a name that looks like a number is a name')
  const response = await fetch(`${url}/v1/models`)
  t.like(await response.json(), { data: [{ id: '7' }] })
  child.kill('SIGTERM')
  await once(child, 'close')
  t.is(child.exitCode, 0)
})
