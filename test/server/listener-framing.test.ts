import test from 'ava'
import { framingFault } from '#phyllo/server/listener/headers.js'
import { ask, deferred, forEachListener, serve, sleep, wire } from './listener-kit.js'

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n'

/** Heads with two readings; each is sent with a request behind it that only one of the readings sees. */
const faults: Record<string, string> = {
  'differing Content-Lengths': 'host: a\r\ncontent-length: 0\r\ncontent-length: 37',
  'the same Content-Length twice': 'host: a\r\ncontent-length: 0\r\ncontent-length: 0',
  'a Content-Length list': 'host: a\r\ncontent-length: 0, 0',
  'a signed Content-Length': 'host: a\r\ncontent-length: +0',
  'a hexadecimal Content-Length': 'host: a\r\ncontent-length: 0x0',
  'an empty Content-Length': 'host: a\r\ncontent-length:',
  'a Content-Length beyond all doubles': 'host: a\r\ncontent-length: 99999999999999999999999',
  'Content-Length and Transfer-Encoding': 'host: a\r\ncontent-length: 0\r\ntransfer-encoding: chunked',
  'Transfer-Encoding and Content-Length': 'host: a\r\ntransfer-encoding: chunked\r\ncontent-length: 0',
  'an unknown Transfer-Encoding': 'host: a\r\ntransfer-encoding: xchunked',
  'chunked twice': 'host: a\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked',
  'chunked that is not last': 'host: a\r\ntransfer-encoding: chunked, identity',
  'gzip before chunked': 'host: a\r\ntransfer-encoding: gzip, chunked',
  'two Hosts': 'host: a\r\nhost: b',
  'no Host': 'x-a: 1',
}

forEachListener((factory, name) => {
  for (const [fault, head] of Object.entries(faults)) {
    test(`${name}: ${fault}: 400, nothing smuggled, and the connection ends`, async t => {
      const seen: string[] = []
      const { port, listener } = await serve(t, factory, exchange => {
        seen.push(exchange.path)
        exchange.begin(200, [])
        exchange.end('served')
      })
      for (const behind of ['', `0\r\n\r\n${SMUGGLED}`, SMUGGLED]) {
        const raw = await wire(t, port)
          .send(`POST /first HTTP/1.1\r\n${head}\r\n\r\n${behind}`)
          .until('closed')
        t.regex(raw, /^HTTP\/1\.1 400 Bad Request\r\n/)
        t.is(raw.match(/HTTP\/1\.1 \d{3} /g)?.length, 1, raw)
      }
      t.deepEqual(seen, [])
      t.is((await ask(port)).body, 'served')
      while (listener.inFlight > 0) await sleep(5)
    })
  }

  test(`${name}: bad framing is told in OpenAI's form`, async t => {
    const { port } = await serve(t, factory, () => t.fail())
    const raw = await wire(t, port).send('GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n').until('closed')
    const { error } = JSON.parse(raw.slice(raw.indexOf('\r\n\r\n')))
    t.is(error.code, 'bad_framing')
    t.is(error.type, 'invalid_request_error')
  })

  test(`${name}: broken chunk framing during an upload is an abort`, async t => {
    const aborted = deferred<string>()
    const { port } = await serve(t, factory, exchange => {
      exchange.readBody(100, 5_000, (_body, fault) => aborted.resolve(String(fault)))
    })
    const connection = wire(t, port).send(
      'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n',
    )
    await sleep(20)
    connection.send('not-hex\r\n')
    t.is(await aborted.promise, 'aborted')
    await connection.until('closed')
  })

  test(`${name}: headers up to the limit work, long JWTs among them; over it is 431`, async t => {
    // uWebSockets.js' own limit is 4,096 bytes unless its environment variable is set before it loads.
    const { port } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      exchange.end(String(exchange.header('authorization')?.length))
    })
    const head = (length: number): string =>
      `GET / HTTP/1.1\r\nhost: a\r\nauthorization: ${'j'.repeat(length)}\r\n\r\n`
    for (const length of [4_000, 8_000, 15_000]) {
      t.regex(
        await wire(t, port)
          .send(head(length))
          .until(/\d{4,5}$/),
        /^HTTP\/1\.1 200 OK/,
      )
      // In two reads, which is where the parser has to buffer.
      const connection = wire(t, port).send(head(length).slice(0, 3_000))
      await sleep(20)
      connection.send(head(length).slice(3_000))
      t.regex(await connection.until(/\d{4,5}$/), /^HTTP\/1\.1 200 OK/)
    }
    for (const length of [17_000, 40_000]) {
      const raw = await wire(t, port).send(head(length)).until('closed')
      t.regex(raw, /^HTTP\/1\.1 431 Request Header Fields Too Large\r\n/)
      t.regex(raw, /"code":"headers_too_large"/)
    }
  })
})

test('framingFault: good framing passes', t => {
  t.is(framingFault(['host', 'a']), null)
  t.is(framingFault(['host', 'a', 'content-length', '0']), null)
  t.is(framingFault(['content-length', '123456789012345', 'host', 'a']), null)
  t.is(framingFault(['host', 'a', 'transfer-encoding', 'Chunked']), null)
})
