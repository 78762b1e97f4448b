/** `phyllo serve` as a process: engine, router, request, explain, drain; and failures to start. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import test from 'ava'

const main = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
const started = new Set<ChildProcess>()
test.after.always(() => {
  for (const child of started) child.kill('SIGKILL')
})

function phyllo(args: readonly string[]) {
  const child = spawn(process.execPath, [main, ...args], { stdio: ['pipe', 'pipe', 'pipe'] })
  started.add(child)
  child.once('close', () => started.delete(child))
  return child
}

/** The first match among the lines that a command writes to standard error. */
async function said(child: ReturnType<typeof phyllo>, pattern: RegExp): Promise<RegExpExecArray> {
  const lines: string[] = []
  for await (const line of createInterface({ input: child.stderr })) {
    lines.push(line)
    const match = pattern.exec(line)
    // From here on nobody reads; the pipe must not fill up.
    if (match !== null) {
      child.stderr.resume()
      return match
    }
  }
  throw new Error(`it ended without saying ${pattern}:\n${lines.join('\n')}`)
}

const body = JSON.stringify({
  model: 'demo',
  max_tokens: 2,
  messages: [{ role: 'user', content: 'Hello, leaf' }],
})

for (const engine of ['auto', 'node'] as const) {
  test.serial(
    `serve (${engine}) answers through an engine, explains itself, and drains on SIGTERM`,
    async t => {
      const pod = phyllo(['engine', '--port', '0', '--listen', 'node', '--speed', '100'])
      const [podUrl = ''] = await said(pod, /http:\/\/[\d.:]+/)
      const flags = [
        '--host',
        '127.0.0.1',
        '--port',
        '0',
        '--admin-port',
        '0',
        '--workers',
        '1',
        '--engine',
        engine,
      ]
      const router = phyllo(['serve', '--pod', podUrl, ...flags, '--log-format', 'json'])
      const [, url = '', admin = ''] = await said(
        router,
        /serving on (http:\/\/\S+).*admin on (http:\/\/[\d.:]+)/,
      )

      const headers = { 'content-type': 'application/json' }
      const response = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers, body })
      t.is(response.status, 200)
      t.is(response.headers.get('x-phyllo-pod'), podUrl.replace('http://', ''))
      await response.body?.cancel()

      const explain = phyllo(['explain', '-', '--admin', admin])
      explain.stdin.end(body)
      const [decision, complaint] = await Promise.all([text(explain.stdout), text(explain.stderr)])
      t.is(complaint, '')
      t.true(decision.includes(podUrl.replace('http://', '')))

      router.kill('SIGTERM')
      await once(router, 'close')
      t.deepEqual([router.exitCode, router.signalCode], [0, null])
      pod.kill('SIGTERM')
      await once(pod, 'close')
    },
  )
}

test.serial('serve on a port that is taken exits 1 with the reason and no stack trace', async t => {
  const taken = createServer()
  taken.listen(0, '127.0.0.1')
  await once(taken, 'listening')
  const address = taken.address()
  const port = String(typeof address === 'object' && address !== null ? address.port : 0)
  const flags = [
    '--host',
    '127.0.0.1',
    '--port',
    port,
    '--admin-port',
    '0',
    '--engine',
    'node',
    '--workers',
    '1',
  ]
  const router = phyllo(['serve', '--pod', 'http://127.0.0.1:1', ...flags, '--log-level', 'silent'])
  const [err] = await Promise.all([text(router.stderr), once(router, 'close')])
  t.is(router.exitCode, 1)
  t.regex(err, /^phyllo: cannot start: .*EADDRINUSE/)
  t.notRegex(err, /\n {4}at /)
  taken.close()
})
