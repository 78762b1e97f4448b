/** Signals: the first drains and exits 0, the second ends the process at once. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import test from 'ava'

const lifecycle = new URL('../../../dist/cli/lifecycle.js', import.meta.url)

/** A command whose drain takes `ms`; it says `ready` when it serves and `drained` when the drain is over. */
function serve(ms: number) {
  const script = `
    const { serveUntilSignal, exitWith } = await import(${JSON.stringify(lifecycle.href)})
    const held = setInterval(() => {}, 1000)
    setTimeout(() => process.stdout.write('ready\\n'))
    await serveUntilSignal(() => new Promise(done => setTimeout(done, ${ms})))
    process.stdout.write('drained\\n')
    exitWith(0)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  child.stdout.on('data', data => {
    out += String(data)
  })
  return { child, output: () => out }
}

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal} drains, then exits 0 although a timer is still held`, async t => {
    const { child, output } = serve(50)
    await once(child.stdout, 'data')
    child.kill(signal)
    await once(child, 'close')
    t.deepEqual([child.exitCode, output()], [0, 'ready\ndrained\n'])
  })
}

test('a second signal, of either kind, ends a drain that would take for ever', async t => {
  const { child, output } = serve(1_000_000)
  await once(child.stdout, 'data')
  child.kill('SIGTERM')
  await once(child.stderr, 'data')
  child.kill('SIGINT')
  await once(child, 'close')
  t.deepEqual([child.signalCode, output()], ['SIGINT', 'ready\n'])
})
