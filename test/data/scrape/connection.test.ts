/** Connections to engines on real sockets that behave badly in every way. */
import { gzipSync } from 'node:zlib'
import test, { type ExecutionContext } from 'ava'
import { ownBoard } from '#phyllo/data/fleet-board.js'
import { Connection, PAGE_BYTES, type PageSink, type ScrapeFault } from '#phyllo/data/scrape/connection.js'
import { Scraper } from '#phyllo/data/scrape/scraper.js'
import {
  answerWith,
  chunked,
  deadOrigin,
  lastChunk,
  type PodRequest,
  startPod,
} from '../../execution/kit-pods.js'
import { until } from '../../execution/kit-until.js'
import { podAt } from './fake-world.js'

const PAGE = 'vllm:num_requests_running 3\n'
const good = answerWith(200, PAGE)

/** Answers of one connection, each a page or a fault. */
class Sink implements PageSink {
  readonly answers: (string | ScrapeFault)[] = []
  closed = 0
  bytes = 0
  #page = ''

  onBody(bytes: Buffer, from: number, to: number): void {
    this.bytes += to - from
    if (this.#page.length < 1000) this.#page += bytes.toString('latin1', from, to)
  }
  onEnd(): void {
    this.answers.push(this.#page)
    this.#page = ''
  }
  onFault(fault: ScrapeFault): void {
    this.#page = ''
    this.answers.push(fault)
  }
  onClosed(): void {
    this.closed++
  }
}

function connectionTo(t: ExecutionContext, origin: string) {
  const sink = new Sink()
  const connection = new Connection(origin, sink)
  t.teardown(() => connection.destroy())
  const ask = async (path = '/metrics') => {
    const before = sink.answers.length
    connection.get(path)
    await until(t, () => sink.answers.length > before, 'an answer')
    return sink.answers.at(-1)
  }
  return { sink, connection, ask }
}

const podThat = (t: ExecutionContext, answer: (request: PodRequest) => void) => startPod(t, answer)

test('one connection for all requests, uncompressed', async t => {
  const pod = await podThat(t, ({ socket }) => socket.write(good))
  const { ask } = connectionTo(t, pod.origin)
  for (let i = 0; i < 5; i++) t.is(await ask('/base/metrics'), PAGE)
  t.is(pod.accepted, 1)
  const [first] = pod.requests
  t.true(first?.head.startsWith('GET /base/metrics HTTP/1.1\r\n'))
  t.regex(first?.head ?? '', /\r\nhost: 127\.0\.0\.1:\d+(\r\n|$)/)
  t.regex(first?.head ?? '', /\r\naccept-encoding: identity(\r\n|$)/)
})

test('a connection that was closed between two requests is opened again', async t => {
  const pod = await podThat(t, ({ socket }) => socket.write(good))
  const { ask, sink } = connectionTo(t, pod.origin)
  t.is(await ask(), PAGE)
  for (const socket of pod.sockets) socket.end()
  await until(t, () => sink.closed === 1, 'the end is noticed')
  t.is(await ask(), PAGE)
  t.is(pod.accepted, 2)
})

test('a request that meets the end of an idle connection is sent once more, and only once', async t => {
  let answers = 1
  const pod = await podThat(t, ({ socket }) => (answers-- > 0 ? socket.write(good) : socket.destroy()))
  const { ask } = connectionTo(t, pod.origin)
  t.is(await ask(), PAGE)
  t.like(await ask(), { kind: 'connection', reason: 'closed the connection in the middle of its answer' })
  t.is(pod.requests.length, 3)
  answers = 1
  t.is(await ask(), PAGE)
})

test('the answer says that its connection ends', async t => {
  const pod = await podThat(t, ({ socket }) => socket.end(answerWith(200, PAGE, ['connection: close'])))
  const { ask } = connectionTo(t, pod.origin)
  t.is(await ask(), PAGE)
  t.is(await ask(), PAGE)
  t.is(pod.accepted, 2)
})

test('an answer without a length', async t => {
  const pod = await podThat(t, ({ socket }) => socket.end(`HTTP/1.1 200 OK\r\n\r\n${PAGE}`))
  const { ask } = connectionTo(t, pod.origin)
  t.is(await ask(), PAGE)
  t.is(await ask(), PAGE)
})

const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n'
const faults: [
  name: string,
  answer: (request: PodRequest) => void,
  fault: RegExp,
  kind: ScrapeFault['kind'],
][] = [
  ['404', ({ socket }) => socket.write(answerWith(404, 'no')), /^answers 404$/, 'page'],
  ['500', ({ socket }) => socket.write(answerWith(500, 'no')), /^answers 500$/, 'page'],
  [
    'a redirect',
    ({ socket }) => socket.write(answerWith(307, '', ['location: http://elsewhere/'])),
    /answers 307 and refers to 'http:\/\/elsewhere\/'/,
    'page',
  ],
  [
    'gzip',
    ({ socket }) => {
      const body = gzipSync(PAGE)
      socket.write(`${head}content-encoding: gzip\r\ncontent-length: ${body.length}\r\n\r\n`)
      socket.write(body)
    },
    /encoding 'gzip'/,
    'page',
  ],
  ['garbage', ({ socket }) => socket.write(Buffer.alloc(50_000, 0xc3)), /HTTP/, 'page'],
  ['a reset', ({ socket }) => socket.resetAndDestroy(), /ECONNRESET/, 'connection'],
  [
    'a reset in the middle of the page',
    ({ socket }) => {
      socket.write(`${head}content-length: 1000\r\n\r\nvllm:num`)
      setTimeout(() => socket.resetAndDestroy(), 20)
    },
    /ECONNRESET|middle/,
    'connection',
  ],
  [
    'an end in the middle of the page',
    ({ socket }) => socket.end(`${head}content-length: 1000\r\n\r\nvllm:num`),
    /middle/,
    'connection',
  ],
  [
    'a page of 100 MB by its length',
    ({ socket }) => socket.write(`${head}content-length: 100000000\r\n\r\n`),
    /more than 4 MiB/,
    'page',
  ],
]

for (const [name, answer, reason, kind] of faults) {
  test(`${name}: told as a fault, and the next request is well`, async t => {
    let bad = true
    const pod = await podThat(t, request => (bad ? answer(request) : request.socket.write(good)))
    const { ask } = connectionTo(t, pod.origin)
    const fault = await ask()
    if (typeof fault !== 'object') return t.fail(fault)
    t.regex(fault.reason, reason)
    t.is(fault.kind, kind)
    bad = false
    t.is(await ask(), PAGE)
  })
}

test('a page without an end is given up at 4 MiB, and no more is taken', async t => {
  const piece = Buffer.alloc(65_536, `${PAGE}`)
  const pod = await podThat(t, ({ socket }) => {
    socket.write(`${head}transfer-encoding: chunked\r\n\r\n`)
    const more = (): void => {
      while (!socket.destroyed && socket.write(chunked(piece)));
    }
    socket.on('drain', more)
    more()
  })
  const { ask, sink } = connectionTo(t, pod.origin)
  t.like(await ask(), { kind: 'page', reason: 'sent more than 4 MiB' })
  t.true(sink.bytes <= PAGE_BYTES)
  await until(t, () => pod.sockets.size === 0, 'the connection is closed')
})

test('nobody there', async t => {
  const { ask } = connectionTo(t, deadOrigin())
  t.like(await ask(), { kind: 'connection', reason: 'cannot be reached (ECONNREFUSED)' })
  t.like(await ask(), { kind: 'connection' })
})

test('a name that does not exist', async t => {
  const { ask } = connectionTo(t, 'http://engine.invalid:8000')
  const fault = await ask()
  t.like(fault, { kind: 'connection' })
})

test('a connection that was given up says nothing more', async t => {
  const pod = await podThat(t, ({ socket }) => socket.write(`${head}content-length: 1000\r\n\r\n`))
  const { connection, sink } = connectionTo(t, pod.origin)
  connection.get('/metrics')
  await until(t, () => pod.requests.length === 1, 'the request came')
  connection.destroy()
  await until(t, () => pod.sockets.size === 0, 'the connection is closed')
  t.deepEqual(sink.answers, [])
})

test('unasked bytes on an idle connection close it, and no answer is made of them', async t => {
  const pod = await podThat(t, ({ socket }) => socket.write(good))
  const { ask, sink } = connectionTo(t, pod.origin)
  t.is(await ask(), PAGE)
  for (const socket of pod.sockets) socket.write(good)
  await until(t, () => sink.closed === 1, 'it is closed')
  t.deepEqual(sink.answers, [PAGE])
  t.is(await ask(), PAGE)
})

test('a chunked page in small writes', async t => {
  const page = 'vllm:num_requests_running 3\n'.repeat(30)
  const pod = await podThat(t, ({ socket }) => {
    socket.write(`${head}transfer-encoding: chunked\r\n\r\n`)
    let at = 0
    const timer = setInterval(() => {
      socket.write(chunked(page.slice(at, at + 100)))
      at += 100
      if (at < page.length) return
      clearInterval(timer)
      socket.write(lastChunk)
    }, 1)
  })
  const { ask } = connectionTo(t, pod.origin)
  t.is(await ask(), page)
  t.is(await ask(), page)
})

test('the scraper over real sockets: pages that drip, stop or never come are given up, the others are read', async t => {
  const dripping = await podThat(t, ({ socket }) => {
    socket.write(`${head}content-length: 100000\r\n\r\n`)
    const timer = setInterval(() => socket.write('x'), 5)
    socket.on('close', () => clearInterval(timer))
  })
  const silent = await podThat(t, () => undefined)
  const slow = await podThat(t, ({ socket }) => void setTimeout(() => socket.write(good), 20))
  const faults: string[] = []
  let read = 0
  const scraper = new Scraper(
    { setEngineLoad: () => void read++, setPodCache: () => undefined, podStatus: () => false },
    ownBoard().adapters,
    { intervalMs: 50, fastMs: 50, timeoutMs: 1000, path: '/metrics' },
    { onBlockSize: () => undefined, onFault: (pod, reason) => void faults.push(`${pod.id} ${reason}`) },
  )
  t.teardown(() => scraper.stop())
  for (const [slot, { origin }] of [dripping, silent, slow].entries()) scraper.watch(podAt(slot, origin))
  // On a busy machine the slow one may be given up, too.
  const given = (): string[] => [...new Set(faults.filter(fault => !fault.startsWith('pod-2 ')))].sort()
  await until(t, () => read > 3 && given().length === 2, 'pages were read and given up')
  t.deepEqual(
    given(),
    [0, 1].map(slot => `pod-${slot} does not answer within 1000 ms`),
  )
  await until(t, () => dripping.sockets.size + silent.sockets.size <= 2, 'no connection is left behind')
})
