/** Legs that nobody waits for any longer: what is still to come of them is not waited for without end. */
import test from 'ava'
import { workflowFor } from '#phyllo/execution/workflows/registry.js'
import {
  answerWith,
  assertClean,
  chunked,
  type PodRequest,
  RecordingSink,
  startPod,
  startWorker,
  streamHead,
  until,
} from './kit.js'

const sglang = workflowFor({ name: 'prefill-decode/sglang', options: {} })
const body = '{"model":"m","messages":[]}'

/** What a prefill may do that is read away while the client has its answer already. */
const silences: [string, (request: PodRequest) => void][] = [
  ['says nothing', () => undefined],
  ['has sent its head alone', ({ socket }) => void socket.write(streamHead)],
  [
    'goes on in small pieces',
    ({ socket }) => {
      socket.write(streamHead)
      const timer = setInterval(() => socket.write(chunked('data: {}\n\n')), 50)
      socket.on('close', () => clearInterval(timer))
    },
  ],
]
for (const [name, prefilling] of silences) {
  test(`a drained leg that ${name} when the answer is over holds its socket a second, not for ever`, async t => {
    const prefill = await startPod(t, prefilling)
    const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
    const worker = startWorker(t, [prefill.origin, decode.origin], { roles: ['prefill', 'decode'] })
    const sink = new RecordingSink()
    t.like(await worker.run(sink, { body, workflow: sglang }), { status: 200, outcome: 'ok' })
    t.is(sink.text, '{"text":"hi"}')
    t.true(worker.lane.idle)
    await until(t, () => prefill.requests.length === 1 && prefill.sockets.size === 0, 'the socket is gone')
    await assertClean(t, worker)
  })
}

test('a drained leg whose answer comes soon keeps its connection', async t => {
  let late: PodRequest | undefined
  const prefill = await startPod(t, request => {
    late = request
  })
  const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const worker = startWorker(t, [prefill.origin, decode.origin], { roles: ['prefill', 'decode'] })
  t.like(await worker.run(new RecordingSink(), { body, workflow: sglang }), { status: 200 })
  await until(t, () => late !== undefined, 'the prefill has it')
  late?.socket.write(answerWith(200, '{}'))
  await assertClean(t, worker)
  t.is(prefill.sockets.size, 1)
})
