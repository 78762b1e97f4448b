/** Questions to Mooncake's bootstrap servers: which answers count, and when a pod is asked anew. */
import { createServer, type ServerResponse } from 'node:http'
import test, { type ExecutionContext } from 'ava'
import { loadNative } from '#phyllo/data/native.js'
import { PodRegistry } from '#phyllo/data/pod-registry.js'
import { MooncakeBootstrap } from '#phyllo/server/mooncake-bootstrap.js'
import { createLogger } from '#phyllo/telemetry/log.js'
import { STATE_OPTIONS } from '../data/state-options.js'
import { sleep, until } from '../execution/kit-until.js'

const state = loadNative().SharedState.open('bootstrap-test', { ...STATE_OPTIONS, virtualClock: false })
test.after(() => void loadNative().SharedState.close('bootstrap-test'))
const log = createLogger({ level: 'silent', format: 'json' })

let pods = 0
/** A pod with a bootstrap server whose answers the test gives, and who asks it. */
async function asked(t: ExecutionContext) {
  const questions: ServerResponse[] = []
  const server = createServer((_, answer) => void questions.push(answer))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  const registry = new PodRegistry(state, () => Promise.resolve())
  const bootstrap = new MooncakeBootstrap(registry, { intervalMs: 60_000, timeoutMs: 20_000 }, log)
  t.teardown(() => bootstrap.stop())
  const id = `pod-${pods++}`
  const kvTransfer = { connector: 'mooncake', bootstrapPort: address.port } as const
  const pod = await registry.add({ url: 'http://127.0.0.1:1', id, role: 'prefill', kvTransfer })
  pod.healthy = true
  const says = (question: number, engine: string): void =>
    void questions[question]?.end(JSON.stringify({ 0: { engine_id: engine } }))
  const comes = (count: number) => until(t, () => questions.length >= count, `question ${count}`)
  const known = (): string | undefined => pod.kvTransfer.engines?.get(0)
  return { questions, bootstrap, pod, id, says, comes, known }
}

test('the answer of a process that has gone since it was asked does not count, whenever it comes', async t => {
  const { questions, bootstrap, pod, says, comes, known } = await asked(t)
  const early = bootstrap.askAll()
  await comes(1)
  // It restarts, and is well again before it has answered.
  await bootstrap.changed(pod, false)
  const late = bootstrap.changed(pod, true)
  await comes(2)
  says(0, 'old')
  await early
  t.is(known(), undefined)
  says(1, 'new')
  await late
  t.is(known(), 'new')
  t.is(questions.length, 2)
})

test('a pod that has gone is not known by an answer that comes after', async t => {
  const { bootstrap, pod, says, comes, known } = await asked(t)
  const early = bootstrap.askAll()
  await comes(1)
  await bootstrap.changed(pod, false)
  says(0, 'old')
  await early
  await sleep(20)
  t.is(known(), undefined)
})

test('a failed hand-off asks at once, and many ask no more often than ten times a second', async t => {
  const { questions, bootstrap, id, says, comes, known } = await asked(t)
  bootstrap.doubt(id)
  await comes(1)
  says(0, 'first')
  await until(t, () => known() === 'first', 'the answer is taken')
  const started = performance.now()
  const timer = setInterval(() => {
    for (let i = 0; i < 100; i++) bootstrap.doubt(id)
    for (let i = 1; i < questions.length; i++) if (questions[i]?.writableEnded === false) says(i, `${i}`)
  }, 1)
  await comes(4)
  clearInterval(timer)
  const elapsed = performance.now() - started
  // What was asked after the first: none but behind a gap of 100 ms each, whatever the machine does.
  t.true(questions.length - 1 <= elapsed / 100 + 1, `${questions.length} questions in ${elapsed} ms`)
  await until(t, () => known() !== 'first', 'later answers are taken')
})

test('a hand-off that fails while its pod is being asked has it asked once more', async t => {
  const { questions, bootstrap, id, says, comes, known } = await asked(t)
  const first = bootstrap.askAll()
  await comes(1)
  for (let i = 0; i < 10; i++) bootstrap.doubt(id)
  says(0, 'old')
  await first
  await comes(2)
  says(1, 'new')
  await until(t, () => known() === 'new', 'the later answer is taken')
  await sleep(150)
  t.is(questions.length, 2)
})

test('nothing is asked of pods that are unknown, hand over otherwise or are down, nor after the end', async t => {
  const { questions, bootstrap, pod, id } = await asked(t)
  bootstrap.doubt('nobody')
  pod.healthy = false
  bootstrap.doubt(id)
  pod.healthy = true
  bootstrap.stop()
  bootstrap.doubt(id)
  await sleep(50)
  t.is(questions.length, 0)
})
