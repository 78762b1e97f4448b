import { subscribe } from 'node:diagnostics_channel'
import { createServer, request as httpRequest, type ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import { OUTCOME } from '#phyllo/data/native.js'
import type { ClientSink } from '#phyllo/execution/sink.js'
import {
  answerWith,
  assertClean,
  chunked,
  inOrder,
  type Pod,
  RecordingSink,
  sleep,
  startPod,
  startWorker,
  streamHead,
  until,
} from './kit.js'

/** The router's ends of its upstream connections. */
const upstreamSockets = new Set<Socket>()
subscribe('undici:client:connected', message => {
  if (
    typeof message === 'object' &&
    message !== null &&
    'socket' in message &&
    message.socket instanceof Socket
  ) {
    upstreamSockets.add(message.socket)
  }
})

/**
 * When `leave` returns, the connection that carries the request is destroyed already: no timer, not even a turn of the
 * event loop is between (so the 100 ms that are promised hold on any machine). And no other one is made instead.
 */
async function closesAtOnce(t: ExecutionContext, pod: Pod, leave: () => void): Promise<void> {
  const port = Number(new URL(pod.origin).port)
  const mine = [...upstreamSockets].filter(socket => socket.remotePort === port)
  t.deepEqual(
    mine.map(socket => socket.destroyed),
    [false],
  )
  leave()
  t.deepEqual(
    mine.map(socket => socket.destroyed),
    [true],
  )
  await until(t, () => pod.sockets.size === 0, 'the pod sees it')
  await sleep(20)
  t.is(pod.accepted, 1, 'undici connected anew for a request that had been given up')
}

const phases: readonly [string, (pod: Pod) => void, (sink: RecordingSink) => boolean][] = [
  ['before the answer', () => {}, () => true],
  ['after the head', pod => pod.requests[0]?.socket.write(streamHead), () => true],
  [
    'in the middle of a stream',
    pod => pod.requests[0]?.socket.write(Buffer.concat([Buffer.from(streamHead), chunked('data: 1\n\n')])),
    sink => sink.writes === 1,
  ],
]
for (const [phase, act, reached] of phases) {
  test(`a client that leaves ${phase}: the upstream connection is closed at once`, async t => {
    const pod = await startPod(t, () => {})
    const worker = startWorker(t, [pod.origin])
    const sink = new RecordingSink()
    const done = worker.run(sink)
    await until(t, () => pod.requests.length === 1, 'the pod has the request')
    act(pod)
    await sleep(20)
    await until(t, () => reached(sink), 'the phase is reached')
    await closesAtOnce(t, pod, () => sink.leave())
    t.like(await done, { outcome: 'cancelled', status: phase.startsWith('in') ? 200 : 499 })
    t.deepEqual(
      worker.lane.outcomes.map(o => o.outcome),
      [OUTCOME.cancelled],
    )
    await assertClean(t, worker)
  })
}

test('a client that leaves while the pod is paused for it', async t => {
  const pod = await startPod(t, ({ socket }) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n')
    socket.write(Buffer.alloc(9_000_000))
  })
  const worker = startWorker(t, [pod.origin])
  const sink = new RecordingSink(() => false)
  const done = worker.run(sink)
  await until(t, () => sink.blocked, 'the client is slow')
  await closesAtOnce(t, pod, () => {
    sink.leave()
    // A late wake-up of a sink that is gone must not stir another request's connection.
    sink.drain()
  })
  t.like(await done, { outcome: 'cancelled' })
  await assertClean(t, worker)
})

test('a client that leaves while its request waits for a connection: the pod never sees the request', async t => {
  const pod = await startPod(t, () => {})
  const worker = startWorker(t, [pod.origin], { connections: 1 })
  const first = new RecordingSink()
  const firstDone = worker.run(first)
  await until(t, () => pod.requests.length === 1, 'the connection is taken')
  const second = new RecordingSink()
  const secondDone = worker.run(second)
  await sleep(10)
  second.leave()
  t.like(await secondDone, { outcome: 'cancelled', status: 499 })
  pod.requests[0]?.socket.write(answerWith(200, '{}'))
  t.like(await firstDone, { outcome: 'ok' })
  await sleep(30)
  t.is(pod.requests.length, 1)
  t.is(pod.sockets.size, 1, 'the connection is there for others')
  const third = worker.run(new RecordingSink())
  await until(t, () => pod.requests.length === 2, 'the next request goes over it')
  pod.requests[1]?.socket.write(answerWith(200, '{}'))
  t.like(await third, { outcome: 'ok' })
  t.is(pod.accepted, 1)
  await assertClean(t, worker)
})

test('a client that is gone before anything began', async t => {
  const pod = await startPod(t, () => {})
  const worker = startWorker(t, [pod.origin])
  const sink = new RecordingSink()
  sink.closed = true
  t.like(await worker.run(sink), { outcome: 'cancelled', status: 499, attempts: 0 })
  t.is(pod.accepted, 0)
  await assertClean(t, worker)
})

test('a client that leaves during an asynchronous prepare: the context is kept until the native thread is done', async t => {
  const pod = await startPod(t, () => {})
  const worker = startWorker(t, [pod.origin])
  let finish = () => {}
  const prepared = new Promise<void>(resolve => {
    finish = resolve
  })
  const profile = { ...inOrder, prepare: () => prepared }
  const sink = new RecordingSink()
  const done = worker.run(sink, { profile })
  sink.leave()
  t.like(await done, { outcome: 'cancelled', status: 499 })
  await sleep(10)
  t.is(worker.contexts.inUse, 1)
  finish()
  await assertClean(t, worker)
  t.is(pod.accepted, 0)
})

test('prepare and selection that fail are answered, synchronous or not', async t => {
  const worker = startWorker(t, ['http://127.0.0.1:1'])
  const fail = () => {
    throw new Error('a plugin broke')
  }
  for (const profile of [
    { ...inOrder, prepare: fail },
    { ...inOrder, prepare: () => Promise.reject(new Error('a plugin broke')) },
    { ...inOrder, select: fail },
  ]) {
    const sink = new RecordingSink()
    t.like(await worker.run(sink, { profile }), { status: 500, outcome: 'failed' })
    t.is(sink.errorCode, 'internal_error')
    await assertClean(t, worker)
  }
})

test('a shutdown cuts off what is under way: an error where nothing was sent, an event in a stream', async t => {
  const pod = await startPod(t, ({ socket, head }) => {
    if (head.includes('x-stream'))
      socket.write(Buffer.concat([Buffer.from(streamHead), chunked('data: 1\n\n')]))
  })
  const worker = startWorker(t, [pod.origin])
  const waiting = new RecordingSink()
  const streaming = new RecordingSink()
  const done = [worker.run(waiting), worker.run(streaming, { headers: ['x-stream', '1'] })]
  await until(t, () => pod.requests.length === 2 && streaming.writes === 1, 'both are under way')
  t.is(worker.executor.cutOff(), 2)
  await Promise.all(done)
  t.deepEqual([waiting.status, waiting.errorCode], [503, 'shutting_down'])
  t.regex(streaming.text, /^data: 1\n\n\n\nevent: error\ndata: .*shutting_down/)
  await until(t, () => pod.sockets.size === 0, 'the connections are closed')
  await assertClean(t, worker)
})

// Over a real HTTP server

function httpSink(response: ServerResponse): ClientSink {
  return {
    get closed() {
      return response.destroyed || response.writableEnded
    },
    onAborted: handler => void response.on('close', () => response.writableFinished || handler()),
    begin: (status, headers) => void response.writeHead(status, [...headers]),
    write: chunk => response.write(chunk),
    onWritable: handler => void response.on('drain', handler),
    end: body => void response.end(body),
    abort: () => void response.destroy(),
  }
}

test('over node:http: a slow reader gets every byte, one that leaves frees the pod', async t => {
  const block = Buffer.alloc(1024 * 1024, 'b')
  const blocks = 24
  const pod = await startPod(t, ({ socket }) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${blocks * block.length}\r\n\r\n`)
    let left = blocks
    const push = () => {
      while (left > 0) {
        left--
        if (!socket.write(block)) return void socket.once('drain', push)
      }
    }
    push()
  })
  const worker = startWorker(t, [pod.origin])
  let largest = 0
  const server = createServer((_request, response) => {
    const timer = setInterval(() => {
      largest = Math.max(largest, response.writableLength)
    }, 1)
    response.on('close', () => clearInterval(timer))
    void worker.run(httpSink(response))
  })
  t.teardown(() => server.close())
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') return t.fail()
  const { port } = address

  const received = await new Promise<number>(resolve => {
    const request = httpRequest({ port, method: 'POST' }, response => {
      let bytes = 0
      response.on('data', chunk => {
        bytes += chunk.length
        response.pause()
        setTimeout(() => response.resume(), 0)
      })
      response.on('end', () => resolve(bytes))
    })
    request.end('{}')
  })
  t.is(received, blocks * block.length)
  t.true(largest < 1024 * 1024, `${largest} bytes waited for the client`)

  await assertClean(t, worker)
  const request = httpRequest({ port, method: 'POST' }, response => {
    response.once('data', () => request.destroy())
  })
  request.on('error', () => {})
  request.end('{}')
  await until(
    t,
    () => worker.lane.outcomes.some(o => o.outcome === OUTCOME.cancelled),
    'the request is cancelled',
  )
  await assertClean(t, worker)
})
