import test from 'ava'
import { OUTCOME } from '#phyllo/data/native.js'
import {
  answerWith,
  assertClean,
  chunked,
  type PodRequest,
  RecordingSink,
  sleep,
  startPod,
  startWorker,
  streamHead,
  until,
} from './kit.js'

const good = answerWith(200, '{"ok":true}')
const answerGood = ({ socket }: PodRequest) => void socket.write(good)

test('a pod that never answers: 504 when the time is spent, and no other pod is asked', async t => {
  const bad = await startPod(t, () => {})
  const pod = await startPod(t, answerGood)
  const worker = startWorker(t, [bad.origin, pod.origin], { firstByteMs: 100 })
  const sink = new RecordingSink()
  t.like(await worker.run(sink), { status: 504, outcome: 'failed', attempts: 1 })
  t.is(sink.errorCode, 'pod_timeout')
  t.is(pod.requests.length, 0)
  t.deepEqual(
    worker.lane.outcomes.map(o => o.outcome),
    [OUTCOME.failed],
  )
  await until(t, () => bad.sockets.size === 0, 'its connection is closed')
  await assertClean(t, worker)
})

test('a head that comes in drops, and never whole, is a time-out too', async t => {
  const bad = await startPod(t, ({ socket }) => {
    const text = `HTTP/1.1 200 OK\r\nx-a: ${'a'.repeat(1000)}`
    let at = 0
    const timer = setInterval(() => socket.write(text.charAt(at++)), 5)
    socket.on('close', () => clearInterval(timer))
  })
  const worker = startWorker(t, [bad.origin], { firstByteMs: 150 })
  const sink = new RecordingSink()
  t.like(await worker.run(sink), { status: 504 })
  await until(t, () => bad.sockets.size === 0, 'its connection is closed')
  await assertClean(t, worker)
})

test('the wait for the first token of a stream is not the wait between two', async t => {
  const pod = await startPod(t, async ({ socket }) => {
    socket.write(streamHead)
    await sleep(200)
    socket.write(chunked('data: 1\n\n'))
  })
  const worker = startWorker(t, [pod.origin], { firstByteMs: 2000, idleMs: 60 })
  const sink = new RecordingSink()
  const record = await worker.run(sink)
  t.like(record, { status: 200, outcome: 'failed' })
  t.is(record.error?.code, 'pod_timeout')
  t.regex(sink.text, /^data: 1\n\n\n\nevent: error\ndata: \{"error":\{.*"code":"pod_timeout"\}\}\n\n$/)
  await assertClean(t, worker)
})

test('the whole request has a deadline, retries and waiting in line included', async t => {
  const pod = await startPod(t, () => {})
  const worker = startWorker(t, [pod.origin], { requestMs: 100, connections: 1 })
  const sinks = [new RecordingSink(), new RecordingSink()]
  const records = await Promise.all(sinks.map(sink => worker.run(sink)))
  t.deepEqual(
    records.map(r => r.status),
    [504, 504],
  )
  t.is(pod.requests.length, 1, 'the other one waited for the only connection')
  await until(t, () => pod.sockets.size === 0, 'the connection is closed')
  await assertClean(t, worker)
})

test('a stream that breaks ends with an error event', async t => {
  for (const breakIt of [
    ({ socket }: PodRequest) => void socket.end(),
    ({ socket }: PodRequest) => void socket.resetAndDestroy(),
    ({ socket }: PodRequest) => void socket.end('5\r\nda'),
    ({ socket }: PodRequest) => void socket.write('not a chunk size\r\n'),
  ]) {
    const pod = await startPod(t, ({ socket }) => {
      socket.write(Buffer.concat([Buffer.from(streamHead), chunked('data: {"a":1}\n\n')]))
    })
    const other = await startPod(t, answerGood)
    const worker = startWorker(t, [pod.origin, other.origin])
    const sink = new RecordingSink()
    const done = worker.run(sink)
    await until(t, () => sink.writes === 1, 'the stream has begun')
    for (const request of pod.requests) breakIt(request)
    t.like(await done, { status: 200, outcome: 'failed', attempts: 1 })
    t.regex(sink.text, /^data: \{"a":1\}\n\n(da)?\n\nevent: error\ndata: \{"error":\{.+\}\}\n\n$/)
    t.true(sink.ended)
    t.false(sink.aborted)
    t.is(other.requests.length, 0, 'after the first byte nobody else is asked')
    t.deepEqual(
      worker.lane.outcomes.map(o => o.outcome),
      [OUTCOME.failed],
    )
    await assertClean(t, worker)
  }
})

test('a JSON answer that breaks is cut off, so that the client sees it', async t => {
  const pod = await startPod(t, ({ socket }) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{"a":')
    setTimeout(() => socket.end(), 20)
  })
  const worker = startWorker(t, [pod.origin])
  const sink = new RecordingSink()
  t.like(await worker.run(sink), { status: 200, outcome: 'failed' })
  t.deepEqual([sink.text, sink.aborted, sink.ended], ['{"a":', true, false])
  await assertClean(t, worker)
})

test('an answer that comes while the body is still on its way is relayed', async t => {
  const pod = await startPod(
    t,
    ({ socket }) => {
      socket.pause()
      socket.write(answerWith(413, '{"too":"large"}'))
      setTimeout(() => socket.resume(), 50)
    },
    true,
  )
  const worker = startWorker(t, [pod.origin])
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { body: Buffer.alloc(20_000_000) }), { status: 413, outcome: 'ok' })
  t.is(sink.text, '{"too":"large"}')
  await assertClean(t, worker)
})

test('an invalid header value of the client is its error, not the pod’s', async t => {
  const pod = await startPod(t, answerGood)
  const worker = startWorker(t, [pod.origin])
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { headers: ['x-bad', 'a\u0001b'] }), {
    status: 400,
    outcome: 'failed',
    attempts: 1,
  })
  t.is(sink.errorCode, 'invalid_request')
  t.is(pod.requests.length, 0)
  t.deepEqual(
    worker.lane.outcomes.map(o => o.outcome),
    [OUTCOME.cancelled],
  )
  await assertClean(t, worker)
})
