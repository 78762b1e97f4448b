/** What the engine tests promise of their processes, tried on small ones. */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { runCases, until } from './harness.js'
import { Child } from './processes.js'

/** Stands for an engine: it will not hear of SIGTERM, has a child of its own, and tells both ids. */
const STUBBORN = `
trap '' TERM
sleep 600 &
echo $$ $!
wait`

const PATIENCE_MS = 20_000

function folderOf(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'phyllo-processes-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Running, and no zombie that only waits to be reaped. */
function lives(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

const idsIn = (logFile: string): Promise<number[]> =>
  until(PATIENCE_MS, 'the engine tells its ids', () => {
    const ids = readFileSync(logFile, 'utf8').trim().split(' ').map(Number)
    return ids.length === 2 ? ids : undefined
  })

const gone = (ids: readonly number[]): Promise<true> =>
  until(PATIENCE_MS, `${ids.join(' and ')} are gone`, () => !ids.some(lives) || undefined)

const onLinux = process.platform === 'linux' ? test : test.skip

onLinux('a run that is killed takes its engines with it', async t => {
  const logFile = join(folderOf(t), 'engine.log')
  const module = fileURLToPath(new URL('processes.js', import.meta.url))
  const program = `
    const { Child } = await import(${JSON.stringify(module)})
    new Child('engine', 'sh', ['-c', ${JSON.stringify(STUBBORN)}], ${JSON.stringify(logFile)})
    console.log('started')
    setInterval(() => {}, 1000)`
  const run = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 2],
  })
  t.teardown(() => run.kill('SIGKILL'))
  await new Promise(resolve => run.stdout?.once('data', resolve))
  const ids = await idsIn(logFile)
  t.true(ids.every(lives))
  run.kill('SIGKILL')
  await gone(ids)
  t.pass()
})

onLinux('an engine that ignores SIGTERM is killed with its children after the grace period', async t => {
  const child = new Child('engine', 'sh', ['-c', STUBBORN], join(folderOf(t), 'engine.log'))
  t.teardown(() => child.killNow())
  const ids = await idsIn(child.logFile)
  await child.stop(300)
  t.is(child.ended, 'SIGKILL')
  await gone(ids)
  t.pass()
})

onLinux('a command that is not there is reported as ended', async t => {
  const child = new Child('engine', 'no-such-engine', [], join(folderOf(t), 'engine.log'))
  await until(PATIENCE_MS, 'it ends', () => child.ended)
  t.is(child.ended, 'exit code 127')
  t.regex(child.evidence(), /no-such-engine.*not found/)
})

test.serial('a failing case prints its error and the evidence, and the others run', async t => {
  const lines: string[] = []
  const { log } = console
  console.log = (line: string) => lines.push(line)
  t.teardown(() => {
    console.log = log
  })
  const report = await runCases<string>(
    [
      { name: 'bad', run: () => Promise.reject(new Error('it broke')) },
      { name: 'good', run: async context => context },
    ],
    'noted',
    () => 'the end of the log',
  )
  console.log = log
  t.deepEqual(report, { passed: 1, failed: 1 })
  t.regex(lines.join('\n'), /^not ok bad .*it broke.* {4}the end of the log\nok good: noted/s)
})
