import test from 'ava'
import fc from 'fast-check'
import { type Head, ResponseReader } from '#phyllo/data/scrape/response.js'

const MOST = 4096

/** What came of bytes: the bodies, or the fault. */
class Log {
  readonly heads: Head[] = []
  readonly bodies: string[] = []
  readonly faults: string[] = []
  keepAlive: boolean | undefined
  ends = 0
  #body: Buffer[] = []
  readonly reader = new ResponseReader(
    {
      onHead: head => {
        this.heads.push(head)
        return head.status === 500 ? 'answers 500' : undefined
      },
      onBody: (bytes, from, to) => void this.#body.push(Buffer.from(bytes.subarray(from, to))),
      onEnd: keepAlive => {
        this.ends++
        this.keepAlive = keepAlive
        this.bodies.push(Buffer.concat(this.#body.splice(0)).toString('latin1'))
      },
      onFault: reason => void this.faults.push(reason),
    },
    MOST,
  )

  /** Feeds in pieces of these sizes, all in one buffer with stale bytes behind them. */
  feed(text: string | Buffer, sizes: readonly number[] = []): this {
    const bytes = Buffer.from(text)
    const shared = Buffer.alloc(bytes.length + 8, 'stale\r\n\r\n')
    for (let at = 0, i = 0; at < bytes.length; i++) {
      const size = sizes.length === 0 ? bytes.length : Math.max(1, sizes[i % sizes.length] ?? 1)
      const piece = bytes.subarray(at, at + size)
      piece.copy(shared)
      this.reader.feed(shared, piece.length)
      at += piece.length
    }
    return this
  }
}

const answered = (text: string, sizes: readonly number[] = []): Log => {
  const log = new Log()
  log.reader.begin()
  return log.feed(text, sizes)
}

const body = fc.string({ unit: fc.constantFrom('a', '\r', '\n', '0', ' ', '5'), maxLength: 200 })
const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 4 })
const header = fc.constantFrom(
  'Server: uvicorn',
  'date: now',
  'Content-Type: text/plain',
  'x: content-length: 7',
)

/** One whole answer with that body, framed one way or another. */
const framed = (text: string) =>
  fc
    .record({
      headers: fc.array(header, { maxLength: 3 }),
      chunks: fc.option(fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }), {
        nil: undefined,
      }),
      upper: fc.boolean(),
      extension: fc.constantFrom('', ';x=1', ' ; y'),
      trailer: fc.constantFrom('', 'x-trailer: 1\r\n'),
      interim: fc.boolean(),
    })
    .map(({ headers, chunks, upper, extension, trailer, interim }) => {
      const name = (text: string) => (upper ? text.toUpperCase() : text)
      const before = interim ? 'HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n' : ''
      const start = `${before}HTTP/1.1 200 OK\r\n${headers.map(line => `${line}\r\n`).join('')}`
      if (chunks === undefined) return `${start}${name('content-length')}: ${text.length}\r\n\r\n${text}`
      let out = `${start}${name('transfer-encoding')}: chunked\r\n\r\n`
      for (let at = 0, i = 0; at < text.length; i++) {
        const chunk = text.slice(at, at + (chunks[i % chunks.length] ?? 1))
        out += `${chunk.length.toString(16)}${extension}\r\n${chunk}\r\n`
        at += chunk.length
      }
      return `${out}0\r\n${trailer}\r\n`
    })

test('answers in any framing, one after the other, in any pieces', t => {
  const answers = fc.array(
    body.chain(text => framed(text).map(bytes => ({ text, bytes }))),
    {
      minLength: 1,
      maxLength: 3,
    },
  )
  fc.assert(
    fc.property(answers, sizes, (list, pieces) => {
      const log = new Log()
      for (const { bytes } of list) {
        log.reader.begin()
        log.feed(bytes, pieces)
        t.true(log.keepAlive)
      }
      t.deepEqual(log.faults, [])
      t.deepEqual(
        log.bodies,
        list.map(({ text }) => text),
      )
    }),
    { numRuns: 500 },
  )
})

test('an answer without a length ends with its connection', t => {
  const log = answered('HTTP/1.1 200 OK\r\n\r\nall there is', [5])
  t.is(log.ends, 0)
  t.true(log.reader.closed())
  t.deepEqual(log.bodies, ['all there is'])
  t.false(log.keepAlive)
})

test('who keeps the connection', t => {
  const keeps = (text: string) => answered(`${text}\r\ncontent-length: 0\r\n\r\n`).keepAlive
  t.true(keeps('HTTP/1.1 200 OK'))
  t.false(keeps('HTTP/1.1 200 OK\r\nConnection: Close'))
  t.false(keeps('HTTP/1.0 200 OK'))
  t.true(keeps('HTTP/1.0 200 OK\r\nconnection: keep-alive'))
})

test('what is no answer is a fault that says so, told once', t => {
  const cases: [bytes: string, fault: RegExp][] = [
    ['\0\x01\x02garbage\r\n\r\n', /HTTP/],
    ['SSH-2.0-OpenSSH_9.6\r\n\r\n', /HTTP/],
    ['HTTP/2 200\r\n\r\n', /HTTP/],
    [`HTTP/1.1 200 OK\r\nx: ${'a'.repeat(20_000)}`, /head/],
    ['HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n', /'-1'/],
    ['HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\n', /'5, 5'/],
    [`HTTP/1.1 200 OK\r\ncontent-length: ${MOST + 1}\r\n\r\n`, /more than/],
    [`HTTP/1.1 200 OK\r\n\r\n${'a'.repeat(MOST + 1)}`, /more than/],
    [
      `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${'5\r\naaaaa\r\n'.repeat(MOST / 5 + 1)}`,
      /more than/,
    ],
    ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n', /size/],
    ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-5\r\n', /size/],
    [`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${'0'.repeat(300)}`, /size/],
    ['HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabc\r\n', /chunk/],
    ['HTTP/1.1 500 No\r\ncontent-length: 2\r\n\r\nno', /500/],
    [
      'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok',
      /more than one/,
    ],
  ]
  for (const [bytes, fault] of cases) {
    for (const pieces of [[], [1], [7, 100]]) {
      const log = answered(bytes, pieces)
      t.is(log.faults.length, 1, JSON.stringify(bytes.slice(0, 80)))
      t.regex(log.faults[0] ?? '', fault)
      t.false(log.reader.closed())
      t.is(log.faults.length, 1)
    }
  }
})

test('a connection that closes in the middle of an answer ends none, wherever that is', t => {
  for (const whole of [
    'HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello',
    'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n',
  ]) {
    for (let length = 0; length < whole.length; length++) {
      const log = answered(whole.slice(0, length))
      t.is(log.reader.untouched, length === 0)
      t.false(log.reader.closed())
      t.is(log.faults.length + log.ends, 0, whole.slice(0, length))
    }
  }
})

test('bytes at random and answers with bytes changed end in one way at most, and never throw', t => {
  const changed = body.chain(framed).chain(bytes =>
    fc.array(fc.tuple(fc.nat(bytes.length - 1), fc.nat(255)), { maxLength: 5 }).map(changes => {
      const copy = Buffer.from(bytes, 'latin1')
      for (const [at, byte] of changes) copy[at] = byte
      return copy
    }),
  )
  const random = fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes))
  fc.assert(
    fc.property(fc.oneof(changed, random), sizes, (bytes, pieces) => {
      const log = new Log()
      log.reader.begin()
      log.feed(bytes, pieces)
      const before = log.faults.length + log.ends
      t.is(log.reader.closed(), log.faults.length + log.ends > before)
      t.true(log.faults.length <= 1 && log.ends <= 1)
    }),
    { numRuns: 500 },
  )
})
