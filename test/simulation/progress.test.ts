/** The progress bar and the terminal it draws on. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import test from 'ava'

const progress = new URL('../../../dist/simulation/progress.js', import.meta.url)

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`${signal} left the terminal without a cursor and without line wrapping`, async t => {
    const script = `
      const { startProgress } = await import(${JSON.stringify(progress.href)})
      process.stdout.isTTY = true
      startProgress('run', 10, true, () => undefined, process.stdout)
      setInterval(() => undefined, 1000)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let out = ''
    child.stdout.on('data', data => {
      const isFirst = out === ''
      out += String(data)
      if (isFirst) child.kill(signal)
    })
    await once(child, 'close')
    t.is(child.signalCode, signal, 'it ends by the signal, as whoever sent it expects')
    t.true(out.includes('\x1b[?25l'), 'the cursor was hidden')
    t.true(out.lastIndexOf('\x1b[?25h') > out.lastIndexOf('\x1b[?25l'))
    t.true(out.lastIndexOf('\x1b[?7h') > out.lastIndexOf('\x1b[?7l'))
  })
}
