import test from 'ava'
import { OUTCOME } from '#phyllo/data/native.js'
import {
  answerWith,
  assertClean,
  chunked,
  lastChunk,
  type Pod,
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

// Keep-alive

test('connections are used again, and one that the pod closed while idle is not', async t => {
  const pod = await startPod(t, answerGood)
  const worker = startWorker(t, [pod.origin])
  for (let i = 0; i < 5; i++) {
    t.like(await worker.run(new RecordingSink()), { status: 200 })
    await sleep(5)
  }
  t.is(pod.accepted, 1)
  for (const socket of pod.sockets) socket.end()
  await sleep(20)
  t.like(await worker.run(new RecordingSink()), { status: 200, attempts: 1 })
  t.is(pod.accepted, 2)
  await assertClean(t, worker)
})

test('a used connection that closes as the request arrives: once more to the same pod, no failure booked', async t => {
  const pod: Pod = await startPod(t, ({ socket, nth }) => {
    if (nth === 1) socket.write(good)
    else socket.destroy()
  })
  const worker = startWorker(t, [pod.origin])
  await worker.run(new RecordingSink())
  await sleep(10)
  const sink = new RecordingSink()
  t.like(await worker.run(sink), { status: 200, outcome: 'ok', attempts: 1 })
  t.deepEqual(worker.retries, [])
  t.deepEqual(
    worker.lane.outcomes.map(o => o.outcome),
    [OUTCOME.ok, OUTCOME.ok],
  )
  t.is(pod.accepted, 2)
  await assertClean(t, worker)
})

test('a pod that closes every connection on its request gets it no more than twice', async t => {
  let dying = false
  const pod = await startPod(t, ({ socket }) => void (dying ? socket.destroy() : socket.write(good)))
  const worker = startWorker(t, [pod.origin])
  await worker.run(new RecordingSink())
  await sleep(10)
  dying = true
  const sink = new RecordingSink()
  t.like(await worker.run(sink), { status: 502, outcome: 'failed', attempts: 1 })
  t.is(pod.requests.length, 3)
  t.is(sink.errorCode, 'pod_closed_early')
  await assertClean(t, worker)
})

test('100 requests to a pod that closes idle connections at random: the client sees no error', async t => {
  const pod = await startPod(t, ({ socket }) => {
    socket.write(good)
    setTimeout(() => socket.end(), Math.random() * 6)
  })
  const worker = startWorker(t, [pod.origin])
  for (let i = 0; i < 100; i++) {
    const sink = new RecordingSink()
    t.like(await worker.run(sink), { status: 200, outcome: 'ok', attempts: 1 }, `request ${i}: ${sink.text}`)
    await sleep(Math.random() * 6)
  }
  await assertClean(t, worker)
})

test('the connections of a removed pod are closed, after its streams have ended', async t => {
  const held: PodRequest[] = []
  const pod = await startPod(t, request => {
    held.push(request)
    request.socket.write(Buffer.concat([Buffer.from(streamHead), chunked('data: 1\n\n')]))
  })
  const worker = startWorker(t, [pod.origin])
  const sink = new RecordingSink()
  const done = worker.run(sink)
  await until(t, () => sink.writes > 0, 'the stream has begun')
  worker.client.keepOnly([])
  await sleep(30)
  t.is(pod.sockets.size, 1)
  held[0]?.socket.write(Buffer.concat([chunked('data: 2\n\n'), Buffer.from(lastChunk)]))
  t.like(await done, { status: 200, outcome: 'ok' })
  t.is(sink.text, 'data: 1\n\ndata: 2\n\n')
  await until(t, () => pod.sockets.size === 0, 'the connection is closed')
  // The same origin may come back.
  pod.server.removeAllListeners('request')
  worker.client.keepOnly(worker.infos)
  const again = worker.run(new RecordingSink())
  await until(t, () => held.length === 2, 'the pod has a request again')
  held[1]?.socket.write(lastChunk)
  t.like(await again, { status: 200 })
  await assertClean(t, worker)
})

// undici

for (const [how, close] of [
  ['closes', (request: PodRequest) => void request.socket.end()],
  ['resets', (request: PodRequest) => void request.socket.resetAndDestroy()],
] as const) {
  for (const framing of ['x-a: 1', 'transfer-encoding: chunked']) {
    test(`a pod that ${how} (connection: close, ${framing}) while a slow client has it paused ended the process by an assertion of undici`, async t => {
      // Small, so that all of it is parsed when the end comes: with more to come undici does not read on.
      const body = Buffer.alloc(100, 'z')
      const held: PodRequest[] = []
      const pod = await startPod(t, request => {
        held.push(request)
        request.socket.write(`HTTP/1.1 200 OK\r\nconnection: close\r\n${framing}\r\n\r\n`)
        request.socket.write(framing === 'x-a: 1' ? body : chunked(body))
      })
      const worker = startWorker(t, [pod.origin])
      let open = false
      const sink = new RecordingSink(() => open)
      const done = worker.run(sink)
      await until(t, () => sink.blocked, 'the client is slow')
      const request = held[0]
      if (request === undefined) return t.fail()
      close(request)
      await sleep(30)
      open = true
      sink.drain()
      const record = await done
      t.true(sink.ended || sink.aborted)
      if (how === 'closes' && framing === 'x-a: 1') t.like(record, { outcome: 'ok', bytes: body.length })
      if (framing !== 'x-a: 1') t.is(record.outcome, 'failed')
      await assertClean(t, worker)
    })
  }
}

test('a whole answer, held up by a slow client while the pod closes its connection, is not a failure', async t => {
  const pod = await startPod(t, ({ socket }) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nabcd')
  })
  const worker = startWorker(t, [pod.origin])
  const sink = new RecordingSink(() => false)
  const done = worker.run(sink)
  await until(t, () => sink.blocked, 'the first half is out')
  sink.drain()
  pod.requests[0]?.socket.end('efgh')
  await until(t, () => sink.text === 'abcdefgh', 'the second half is out')
  await sleep(50)
  sink.drain()
  t.like(await done, { outcome: 'ok', bytes: 8 })
  await assertClean(t, worker)
})
