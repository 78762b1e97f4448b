import test from 'ava'
import { isPodRef, MAX_SLOTS, OUTCOME, REFUSED } from '#phyllo/data/native.js'
import {
  allFull,
  answerWith,
  assertClean,
  deadOrigin,
  type PodRequest,
  RecordingSink,
  sleep,
  startPod,
  startWorker,
  until,
} from './kit.js'

const good = answerWith(200, '{"ok":true}')
const answerGood = ({ socket }: PodRequest) => void socket.write(good)

test('connect refused: the next pod gets the request, and the first one the blame', async t => {
  const pod = await startPod(t, answerGood)
  const worker = startWorker(t, [deadOrigin(), pod.origin])
  const sink = new RecordingSink()
  t.like(await worker.run(sink), { status: 200, outcome: 'ok', attempts: 2 })
  t.is(sink.text, '{"ok":true}')
  t.is(sink.header('x-phyllo-pod'), 'pod-1')
  t.deepEqual(worker.retries, ['pod_unreachable'])
  t.deepEqual(worker.picks, ['pod-0', 'pod-1'])
  t.deepEqual(
    worker.lane.outcomes.map(o => o.outcome),
    [OUTCOME.failed, OUTCOME.ok],
  )
  await assertClean(t, worker)
})

test('a name that does not resolve is a pod that cannot be reached', async t => {
  const worker = startWorker(t, ['http://no-such-host.invalid:8000'])
  const sink = new RecordingSink()
  t.like(await worker.run(sink), { status: 502, outcome: 'failed' })
  t.is(sink.errorCode, 'pod_unreachable')
  await assertClean(t, worker)
})

for (const status of [500, 502, 503, 504]) {
  test(`${status} before the first byte: the next pod gets the request, the connection is kept`, async t => {
    const bad = await startPod(t, ({ socket }) => socket.write(answerWith(status, '{"error":"engine"}')))
    const pod = await startPod(t, answerGood)
    const worker = startWorker(t, [bad.origin, pod.origin])
    for (let i = 0; i < 2; i++) {
      const sink = new RecordingSink()
      t.like(await worker.run(sink), { status: 200, attempts: 2 })
      t.is(sink.text, '{"ok":true}')
      await sleep(10)
    }
    t.deepEqual(worker.retries, ['pod_error', 'pod_error'])
    t.is(bad.accepted, 1)
    await assertClean(t, worker)
  })
}

test('all pods answer 5xx: the last answer goes to the client as it is', async t => {
  const bodies = ['{"from":0}', '{"from":1,"unknown":"kept"}']
  const pods = await Promise.all(
    bodies.map(body => startPod(t, ({ socket }) => socket.write(answerWith(503, body, ['x-reason: full'])))),
  )
  const worker = startWorker(
    t,
    pods.map(pod => pod.origin),
  )
  const sink = new RecordingSink()
  const record = await worker.run(sink, { body: '{"stream":true}' })
  t.like(record, { status: 503, outcome: 'failed', attempts: 2, error: undefined })
  t.is(sink.text, bodies[1] ?? '')
  t.is(sink.header('x-reason'), 'full')
  t.deepEqual(worker.lane.samples, [], 'a quick refusal is no latency sample')
  t.deepEqual(
    worker.lane.outcomes.map(o => o.outcome),
    [OUTCOME.failed, OUTCOME.failed],
  )
  await assertClean(t, worker)
})

test('no more pods are tried than the policy allows', async t => {
  const pods = await Promise.all(
    [0, 1, 2, 3, 4].map(() => startPod(t, ({ socket }) => socket.write(answerWith(500, '{}')))),
  )
  const worker = startWorker(
    t,
    pods.map(pod => pod.origin),
  )
  t.like(await worker.run(new RecordingSink()), { status: 500, attempts: 3 })
  t.deepEqual(
    pods.map(pod => pod.requests.length),
    [1, 1, 1, 0, 0],
  )
  await assertClean(t, worker)
})

test("a retry took a removed pod's slot for that pod: it went to the next one there, be it of another model", async t => {
  const stranger = await startPod(t, answerGood)
  const left = await startPod(t, answerGood)
  const failing = await startPod(t, ({ socket }) => {
    const { pods, infos } = worker
    const [first] = infos
    const ref = 2 * MAX_SLOTS + 1
    if (first === undefined || !isPodRef(ref)) throw new Error('unreachable')
    const other = { ...first, ref, id: 'stranger', origin: stranger.origin, models: ['other'] }
    pods.update(pods.version + 1, [first, other])
    socket.write(answerWith(500, '{"error":"first"}'))
  })
  const worker = startWorker(t, [failing.origin, left.origin])
  const sink = new RecordingSink()
  t.like(await worker.run(sink), { status: 500, attempts: 1 })
  t.is(sink.text, '{"error":"first"}')
  t.is(stranger.requests.length + left.requests.length, 0)
  await assertClean(t, worker)
})

test('an endless 5xx body is not read to its end for the sake of a connection', async t => {
  const bad = await startPod(t, ({ socket }) => {
    socket.write('HTTP/1.1 500 No\r\ncontent-length: 100000000\r\n\r\n')
    const push = () => {
      while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
      if (!socket.destroyed) socket.once('drain', push)
    }
    push()
  })
  const pod = await startPod(t, answerGood)
  const worker = startWorker(t, [bad.origin, pod.origin])
  t.like(await worker.run(new RecordingSink()), { status: 200, attempts: 2 })
  await until(t, () => bad.sockets.size === 0, 'the connection of the endless answer is closed')
  await assertClean(t, worker)
})

test('all pods are down: 502 with an OpenAI-style body', async t => {
  const worker = startWorker(t, [deadOrigin(), deadOrigin()])
  const sink = new RecordingSink()
  const record = await worker.run(sink)
  t.like(record, { status: 502, outcome: 'failed', attempts: 2 })
  t.is(record.error?.code, 'pod_unreachable')
  t.is(sink.status, 502)
  t.deepEqual(JSON.parse(sink.text).error.type, 'upstream_error')
  t.is(sink.header('x-request-id'), 'req-1')
  t.is(sink.header('x-phyllo-pod'), 'pod-1')
  await assertClean(t, worker)
})

test('no pod at all, and all of them full, are 503 with retry-after', async t => {
  const none = startWorker(t, [])
  const sink = new RecordingSink()
  t.like(await none.run(sink), { status: 503, attempts: 0, pod: undefined })
  t.deepEqual([sink.errorCode, sink.header('retry-after')], ['no_pod', '1'])

  const worker = startWorker(t, ['http://127.0.0.1:1', 'http://127.0.0.1:2'])
  allFull(worker)
  const full = new RecordingSink()
  t.like(await worker.run(full), { status: 503 })
  t.deepEqual([full.errorCode, full.header('retry-after')], ['overloaded', '1'])
  for (const pod of worker.infos) worker.lane.refuse.set(pod.ref, REFUSED.cordoned)
  const cordoned = new RecordingSink()
  await worker.run(cordoned)
  t.is(cordoned.errorCode, 'no_pod')
  await assertClean(t, worker)
})

/** Faults before the head of an answer is whole; on a first connection each sends the request to the next pod. */
const early: readonly [string, string, (request: PodRequest) => void][] = [
  ['closes before it answers', 'pod_closed_early', ({ socket }) => socket.end()],
  ['resets before it answers', 'pod_closed_early', ({ socket }) => socket.resetAndDestroy()],
  [
    'closes in the middle of its head',
    'pod_closed_early',
    ({ socket }) => socket.end('HTTP/1.1 200 OK\r\nx-a:'),
  ],
  ['answers garbage', 'pod_bad_response', ({ socket }) => socket.write('\u0000\u0001 what is this\r\n\r\n')],
  ['answers a wrong protocol', 'pod_bad_response', ({ socket }) => socket.write('SSH-2.0-OpenSSH_9.2\r\n')],
  [
    'answers an impossible status',
    'pod_bad_response',
    ({ socket }) => socket.write('HTTP/1.1 9x9 No\r\n\r\n'),
  ],
  [
    'sends 20 KB of headers',
    'pod_bad_response',
    ({ socket }) =>
      socket.write(`HTTP/1.1 200 OK\r\nx-a: ${'a'.repeat(20_000)}\r\ncontent-length: 0\r\n\r\n`),
  ],
  [
    'says 100 Continue to nobody',
    'pod_bad_response',
    ({ socket }) => socket.write(`HTTP/1.1 100 Continue\r\n\r\n${good}`),
  ],
  [
    'closes after the head, before any of the body',
    'pod_closed_early',
    ({ socket }) => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n'),
  ],
]
for (const [what, code, misbehave] of early) {
  test(`a pod that ${what}: the next pod gets the request; alone, it is a 502`, async t => {
    const bad = await startPod(t, misbehave)
    const pod = await startPod(t, answerGood)
    const worker = startWorker(t, [bad.origin, pod.origin])
    const sink = new RecordingSink()
    t.like(await worker.run(sink), { status: 200, attempts: 2, outcome: 'ok' })
    t.deepEqual(worker.retries.map(String), [code])
    await assertClean(t, worker)

    const alone = startWorker(t, [bad.origin])
    const failed = new RecordingSink()
    t.like(await alone.run(failed), { status: 502, outcome: 'failed' })
    t.is(failed.errorCode, code)
    t.deepEqual([failed.begins, failed.ended], [1, true])
    await until(t, () => bad.sockets.size === 0, 'the connection is gone')
    await assertClean(t, alone)
  })
}
