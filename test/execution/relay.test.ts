import { gzipSync } from 'node:zlib'
import test from 'ava'
import fc from 'fast-check'
import { OUTCOME } from '#phyllo/data/native.js'
import {
  answerWith,
  assertClean,
  chunked,
  lastChunk,
  type PodRequest,
  RecordingSink,
  sleep,
  startPod,
  startWorker,
  streamHead,
  until,
} from './kit.js'

test('a whole answer goes out as it came, in one send, with the pod and the request id', async t => {
  const body = '{"id":"x","unknown":{"kept":true}}'
  const answer = answerWith(200, body, [
    'Server: uvicorn',
    'x-custom: yes',
    'x-request-id: of-the-pod',
    'date: Sat, 21 Nov 2026 09:59:55 GMT',
    'connection: keep-alive, x-private',
    'x-private: not for the client',
    'keep-alive: timeout=5',
  ])
  const pod = await startPod(t, ({ socket }) => socket.write(answer))
  const worker = startWorker(t, [pod.origin])
  const sink = new RecordingSink()
  const record = await worker.run(sink, { body: '{"model":"m","stream":true}' })

  t.is(sink.status, 200)
  t.is(sink.text, body)
  t.true(sink.ended)
  t.deepEqual([sink.begins, sink.writes], [1, 0])
  t.deepEqual(sink.headers, [
    ...['content-type', 'application/json', 'server', 'uvicorn', 'x-custom', 'yes'],
    ...['x-phyllo-pod', 'pod-0', 'x-request-id', 'req-1'],
  ])
  t.like(record, { status: 200, outcome: 'ok', attempts: 1, error: undefined, bytes: body.length })
  t.true(record.decisionMs >= 0 && record.firstByteMs >= record.decisionMs)
  t.true(record.durationMs >= record.firstByteMs)
  t.is(record.pod?.id, 'pod-0')
  t.is(worker.lane.samples.length, 1)
  t.deepEqual(
    worker.lane.outcomes.map(o => o.outcome),
    [OUTCOME.ok],
  )
  await assertClean(t, worker)
})

test('the pod gets the client bytes, and its headers without those of the connection', async t => {
  const pod = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  const worker = startWorker(t, [pod.origin])
  const body = Buffer.from('{"model":"m", "odd" : [1,2 , 3],"é":"\u0000"}')
  await worker.run(new RecordingSink(), {
    body,
    query: 'a=b&c',
    headers: [
      ...['host', 'router.example', 'authorization', 'Bearer sk-1', 'content-type', 'application/json'],
      ...['content-length', '999', 'connection', 'close, X-Hop', 'x-hop', '1', 'te', 'trailers'],
      ...[
        'expect',
        '100-continue',
        'upgrade',
        'h2c',
        'accept-encoding',
        'gzip, br',
        'x-forwarded-for',
        '1.1.1.1',
      ],
      ...['x-forwarded-for', '2.2.2.2', 'x-request-id', 'of-the-client', 'proxy-authorization', 'Basic x'],
    ],
  })
  const got = pod.requests[0]
  t.deepEqual(got?.body, body)
  const lines = got?.head.split('\r\n') ?? []
  t.is(lines[0], 'POST /v1/chat/completions?a=b&c HTTP/1.1')
  t.deepEqual(lines.slice(1).sort(), [
    'accept-encoding: gzip, br',
    'authorization: Bearer sk-1',
    'connection: keep-alive',
    `content-length: ${body.length}`,
    'content-type: application/json',
    `host: ${pod.origin.slice(7)}`,
    'x-forwarded-for: 1.1.1.1, 2.2.2.2, 10.1.2.3',
    'x-request-id: req-1',
  ])
})

/** Cuts bytes at random places. */
const pieces = fc
  .record({
    body: fc.uint8Array({ minLength: 0, maxLength: 200_000 }),
    cuts: fc.array(fc.nat(200_000), { maxLength: 40 }),
    framing: fc.constantFrom('chunked', 'length', 'close'),
    slowEvery: fc.integer({ min: 1, max: 8 }),
  })
  .map(({ body, cuts, ...rest }) => {
    const places = [0, ...cuts.filter(cut => cut < body.length).sort((a, b) => a - b), body.length]
    const parts = places.slice(1).map((end, i) => Buffer.from(body.subarray(places[i], end)))
    return { body: Buffer.from(body), parts: parts.filter(part => part.length > 0), ...rest }
  })

test('any answer in any pieces and any framing arrives byte by byte, whatever the client can take', async t => {
  let scenario: { parts: Buffer[]; framing: string; total: number } | undefined
  const pod = await startPod(t, async ({ socket }) => {
    if (scenario === undefined) return
    const { parts, framing, total } = scenario
    const framed = {
      chunked: 'transfer-encoding: chunked',
      length: `content-length: ${total}`,
      close: 'x: y',
    }[framing]
    socket.write(`HTTP/1.1 200 OK\r\n${framed}\r\n${framing === 'close' ? 'connection: close\r\n' : ''}\r\n`)
    for (const [i, part] of parts.entries()) {
      socket.write(framing === 'chunked' ? chunked(part) : part)
      if (i % 3 === 0) await sleep(0)
    }
    if (framing === 'chunked') socket.write(lastChunk)
    if (framing === 'close') socket.end()
  })
  const worker = startWorker(t, [pod.origin])
  await fc.assert(
    fc.asyncProperty(pieces, async ({ body, parts, framing, slowEvery }) => {
      scenario = { parts, framing, total: body.length }
      let taken = 0
      const sink = new RecordingSink(() => {
        const room = ++taken % slowEvery !== 0
        if (!room) setImmediate(() => sink.drain())
        return room
      })
      const record = await worker.run(sink)
      return record.outcome === 'ok' && sink.body.equals(body) && sink.pushed === 0 && sink.ended
    }),
    { numRuns: 60 },
  )
  t.is(worker.contexts.inUse, 0)
  await assertClean(t, worker)
})

test('a slow client stops a fast pod: what is under way stays bounded, and all of it arrives', async t => {
  const total = 64 * 1024 * 1024
  const block = Buffer.alloc(1024 * 1024, 'x')
  const pod = await startPod(t, ({ socket }) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${total}\r\n\r\n`)
    let left = total
    const push = () => {
      while (left > 0) {
        left -= block.length
        if (!socket.write(block)) return void socket.once('drain', push)
      }
    }
    push()
  })
  const worker = startWorker(t, [pod.origin], { idleMs: 60 })
  let bytes = 0
  let open = false
  const sink = new RecordingSink(chunk => {
    bytes += chunk.length
    sink.chunks.length = 0
    return open
  })
  const done = worker.run(sink)
  await until(t, () => sink.blocked, 'the sink is full')
  // Longer than the idle time-out: a slow client is not the pod's fault.
  await sleep(200)
  t.is(sink.pushed, 0)
  t.true(bytes <= 65_536, `${bytes} bytes were handed over to a client that had no room`)
  // What the pod could get rid of is in the kernel's buffers (6 MB to receive, 4 MB to send, by default at most).
  const sent = [...pod.sockets].reduce((sum, socket) => sum + socket.bytesWritten - socket.writableLength, 0)
  t.true(sent < 24 * 1024 * 1024, `the pod could send ${sent} bytes`)
  open = true
  sink.drain()
  t.is((await done).bytes, total)
  t.is(bytes, total)
  await assertClean(t, worker)
})

test('a pod that reads slowly gets the whole body, which is not copied meanwhile', async t => {
  const body = Buffer.alloc(6 * 1024 * 1024, 'p')
  const pod = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  pod.server.on('connection', socket => {
    socket.on('data', () => {
      socket.pause()
      setTimeout(() => socket.resume(), 1)
    })
  })
  const worker = startWorker(t, [pod.origin])
  const done = worker.run(new RecordingSink(), { body })
  t.is((await done).status, 200)
  t.true(pod.requests[0]?.body.equals(body))
  await assertClean(t, worker)
})

const bodiless: readonly [string, number, string][] = [
  ['204', 204, 'HTTP/1.1 204 No Content\r\nx-a: 1\r\n\r\n'],
  ['304', 304, 'HTTP/1.1 304 Not Modified\r\nx-a: 1\r\n\r\n'],
  ['an empty 200', 200, 'HTTP/1.1 200 OK\r\nx-a: 1\r\ncontent-length: 0\r\n\r\n'],
]
for (const [name, status, answer] of bodiless) {
  test(`${name} has no body and leaves the connection usable`, async t => {
    const pod = await startPod(t, ({ socket }) => socket.write(answer))
    const worker = startWorker(t, [pod.origin])
    for (let i = 0; i < 2; i++) {
      const sink = new RecordingSink()
      t.like(await worker.run(sink), { status, outcome: 'ok', bytes: 0 })
      t.is(sink.status, status)
      t.is(sink.header('x-a'), '1')
      t.true(sink.ended)
      await sleep(5)
    }
    t.is(pod.accepted, 1)
    await assertClean(t, worker)
  })
}

test('HEAD: the head of the answer, no body', async t => {
  const pod = await startPod(t, ({ socket }) =>
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 77\r\nx-a: 1\r\n\r\n'),
  )
  const worker = startWorker(t, [pod.origin])
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { method: 'HEAD', body: '' }), { status: 200, outcome: 'ok' })
  t.is(sink.header('x-a'), '1')
  t.is(sink.text, '')
  t.true(sink.ended)
})

test('informational heads are passed over', async t => {
  const early = 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'
  const pod = await startPod(t, ({ socket }) => socket.write(`${early}${early}${answerWith(200, '{"a":1}')}`))
  const worker = startWorker(t, [pod.origin])
  const sink = new RecordingSink()
  t.like(await worker.run(sink), { status: 200, outcome: 'ok' })
  t.is(sink.text, '{"a":1}')
  t.is(sink.header('link'), undefined)
})

test('an answer without any framing ends when the pod closes', async t => {
  const pod = await startPod(t, ({ socket }) =>
    socket.end('HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nall of it'),
  )
  const worker = startWorker(t, [pod.origin])
  const sink = new RecordingSink()
  t.like(await worker.run(sink), { status: 200, outcome: 'ok' })
  t.is(sink.text, 'all of it')
  await assertClean(t, worker)
})

test('4xx are answers: relayed unchanged, not retried, no latency sample', async t => {
  const body = '{"error":{"message":"slow down","extra":1}}'
  for (const status of [400, 401, 404, 422, 429, 501]) {
    const pod = await startPod(t, ({ socket }) => socket.write(answerWith(status, body, ['retry-after: 7'])))
    const other = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
    const worker = startWorker(t, [pod.origin, other.origin])
    const sink = new RecordingSink()
    const record = await worker.run(sink, { body: '{"stream":true}' })
    t.like(record, { status, outcome: 'ok', attempts: 1 })
    t.is(sink.text, body)
    t.is(sink.header('retry-after'), '7')
    t.is(other.requests.length, 0)
    t.deepEqual(worker.lane.samples, [])
    t.deepEqual(
      worker.lane.outcomes.map(o => o.outcome),
      [OUTCOME.ok],
    )
    await assertClean(t, worker)
  }
})

test('the head of a stream waits for its first byte, so that until then another pod can take over', async t => {
  const held: PodRequest[] = []
  const first = await startPod(t, request => {
    held.push(request)
    request.socket.write(streamHead)
  })
  const second = await startPod(t, ({ socket }) => {
    socket.write(Buffer.concat([Buffer.from(streamHead), chunked('data: 1\n\n'), Buffer.from(lastChunk)]))
  })
  const worker = startWorker(t, [first.origin, second.origin])
  const sink = new RecordingSink()
  const done = worker.run(sink)
  await until(t, () => held.length === 1, 'the first pod has the request')
  await sleep(20)
  t.is(sink.begins, 0)
  held[0]?.socket.destroy()
  t.like(await done, { status: 200, outcome: 'ok', attempts: 2 })
  t.is(sink.text, 'data: 1\n\n')
  t.is(sink.header('x-phyllo-pod'), 'pod-1')
  await assertClean(t, worker)
})

test('no event is written into a compressed stream that breaks', async t => {
  const bytes = gzipSync('data: 1\n\n')
  const head = streamHead.replace('\r\n\r\n', '\r\ncontent-encoding: gzip\r\n\r\n')
  const pod = await startPod(t, ({ socket }) => {
    socket.write(Buffer.concat([Buffer.from(head), chunked(bytes)]))
    setTimeout(() => socket.destroy(), 20)
  })
  const worker = startWorker(t, [pod.origin])
  const sink = new RecordingSink()
  t.like(await worker.run(sink), { outcome: 'failed', status: 200 })
  t.deepEqual(sink.body, bytes)
  t.true(sink.aborted)
  t.false(sink.ended)
})
