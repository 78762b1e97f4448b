/** Time-outs of 10 s and more that the servers have built in. All tests run at once: the file takes as long as one. */

import test from 'ava'
import type { Exchange } from '#phyllo/server/listener/listener.js'
import { ask, bodyOf, deferred, echo, forEachListener, serve, sleep, wire } from './listener-kit.js'

const GET = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'
const post = (length: number): string => `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${length}\r\n\r\n`
/** uWebSockets.js' 10 s timer fires 8 to 12 s after it was set, its sweep running every 4 s. */
const PAST_TIMERS_MS = 14_000
const MIB = 1 << 20

forEachListener((factory, name) => {
  test(`${name}: a body at 4 bytes a second survives the 16 KB/s rule`, async t => {
    const { port } = await serve(t, factory, echo(1 << 20, 120_000))
    const connection = wire(t, port).send(post(56))
    for (let i = 0; i < 56; i++) {
      await sleep(250)
      connection.send('x')
    }
    t.is(bodyOf(await connection.until(/x{56}$/)), 'x'.repeat(56))
  })

  test(`${name}: an upload that is silent for 14 s is finished when it goes on`, async t => {
    const { port } = await serve(t, factory, echo())
    const finish = async (head: string, rest: string): Promise<void> => {
      const connection = wire(t, port).send(`${head}half`)
      await sleep(PAST_TIMERS_MS)
      t.is(bodyOf(await connection.send(rest).until(/halfhalf$/)), 'halfhalf')
    }
    await Promise.all([
      finish(post(8), 'half'),
      finish(
        'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\n',
        '\r\n4\r\nhalf\r\n0\r\n\r\n',
      ),
    ])
  })

  test(`${name}: an upload whose first byte comes late is taken`, async t => {
    const { port } = await serve(t, factory, echo())
    const connection = wire(t, port).send(post(4))
    await sleep(PAST_TIMERS_MS)
    t.is(bodyOf(await connection.send('late').until(/late$/)), 'late')
  })

  test(`${name}: readBody's own limit holds for a body that trickles on and on`, async t => {
    const { port } = await serve(t, factory, echo(1_000, 11_000))
    const connection = wire(t, port).send(post(1_000))
    const trickle = setInterval(() => connection.send('x'), 200)
    const started = Date.now()
    const raw = await connection.until('closed', 20_000)
    clearInterval(trickle)
    t.regex(raw, /^HTTP\/1\.1 408 /)
    t.true(Date.now() - started > 10_000)
  })

  test(`${name}: an answer with nothing written for 25 s is not cut`, async t => {
    const begun = deferred<Exchange>()
    const { port } = await serve(t, factory, exchange => {
      exchange.readBody(100, 1_000, () => begun.resolve(exchange))
      exchange.onAborted(() => t.fail('the server gave up'))
    })
    const connection = wire(t, port).send(`${post(2)}{}`)
    const exchange = await begun.promise
    await sleep(25_000)
    exchange.begin(200, [])
    exchange.end('at last')
    t.is(bodyOf(await connection.until(/at last$/)), 'at last')
  })

  test(`${name}: a stream with a gap of 14 s between two pieces is not cut`, async t => {
    const { port } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      exchange.write('one')
      setTimeout(() => {
        exchange.write('two')
        setTimeout(() => exchange.end(), 10)
      }, PAST_TIMERS_MS)
    })
    const raw = await wire(t, port)
      .send(GET)
      .until(/0\r\n\r\n$/, 20_000)
    t.is(bodyOf(raw), 'onetwo')
  })

  test(`${name}: a client that stalls for 14 s in the middle of a stream gets all of it`, async t => {
    // Without onWritable, uWebSockets.js ends this at 10 s; with it too, if nothing at all is taken meanwhile.
    const piece = Buffer.alloc(MIB, 's')
    let sent = 0
    const { port } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      const pump = (): void => {
        while (sent < 24) {
          sent += 1
          if (!exchange.write(piece)) return
        }
        exchange.end()
      }
      exchange.onWritable(pump)
      pump()
    })
    const connection = wire(t, port).send(GET)
    connection.socket.pause()
    await sleep(PAST_TIMERS_MS)
    t.true(sent < 24)
    connection.socket.resume()
    t.is(bodyOf(await connection.until(/0\r\n\r\n$/, 20_000))?.length, 24 * MIB)
  })

  test(`${name}: a client that was slow once and caught up is not cut 10 s later`, async t => {
    const { port } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      exchange.write(Buffer.alloc(16 * MIB, 's'))
      exchange.onWritable(() => {
        setTimeout(() => exchange.end('end'), PAST_TIMERS_MS)
      })
    })
    const connection = wire(t, port).send(GET)
    connection.socket.pause()
    await sleep(300)
    connection.socket.resume()
    t.is(bodyOf(await connection.until(/end\r\n0\r\n\r\n$/, 25_000))?.length, 16 * MIB + 3)
  })

  test(`${name}: a large answer of known length reaches a client that stalls for 14 s`, async t => {
    const { port, listener } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      exchange.end(Buffer.alloc(24 * MIB, 'k'))
    })
    const connection = wire(t, port).send(GET)
    connection.socket.pause()
    await sleep(PAST_TIMERS_MS)
    t.is(listener.inFlight, 1)
    connection.socket.resume()
    while (connection.received < 24 * MIB && !connection.closed) await sleep(20)
    while (listener.inFlight > 0) await sleep(5)
    t.is(bodyOf(connection.text)?.length, 24 * MIB)
  })

  test(`${name}: end while the client is slow waits for it`, async t => {
    const { port, listener } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      for (let i = 0; i < 24; i++) exchange.write(Buffer.alloc(MIB, 'e'))
      exchange.end('tail')
    })
    const connection = wire(t, port).send(GET)
    connection.socket.pause()
    await sleep(PAST_TIMERS_MS)
    t.is(listener.inFlight, 1)
    connection.socket.resume()
    t.is(bodyOf(await connection.until(/tail\r\n0\r\n\r\n$/, 20_000))?.length, 24 * MIB + 4)
  })

  test(`${name}: a client that leaves while it is stalled is seen`, async t => {
    const aborted = deferred<void>()
    const { port } = await serve(t, factory, exchange => {
      exchange.onAborted(() => aborted.resolve())
      exchange.begin(200, [])
      exchange.write(Buffer.alloc(24 * MIB, 'g'))
    })
    const connection = wire(t, port).send(GET)
    connection.socket.pause()
    await sleep(6_000)
    connection.socket.resetAndDestroy()
    await aborted.promise
    t.pass()
  })

  test(`${name}: an idle connection is kept, as long as the server says`, async t => {
    const { port } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      exchange.end('ok')
    })
    for (;;) {
      const connection = wire(t, port).send(GET)
      const hint = Number(/keep-alive: timeout=(\d+)/i.exec(await connection.until(/ok$/))?.[1])
      t.is(hint, name === 'uws' ? 7 : 65)
      const ms = Math.min(hint * 1_000, 20_000)
      const since = performance.now()
      await sleep(ms)
      // Where the machine let this sleep for longer, the server had the right to close: that would show nothing.
      if (performance.now() - since > ms + 500) continue
      t.is(bodyOf(await connection.forget().send(GET).until(/ok$/)), 'ok')
      return
    }
  })

  test(`${name}: what is not HTTP ends the connection and harms nobody`, async t => {
    const { port } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      exchange.end('served')
    })
    const texts = [
      '\0\0\0\0\0\0\0\0\r\n\r\n',
      'GET\r\n\r\n',
      'GET / HTTP/9.9\r\nhost: a\r\n\r\n',
      'GET / HTTP/1.1\r\nno colon\r\n\r\n',
      // uWebSockets.js takes these two for the beginning of something longer, until its 10 s are over.
      `GET / HTTP/1.1\r\nhost: a\r\ncontent-length : 37\r\n\r\n${GET}`,
      `GET / HTTP/1.1\r\nhost: a\r\nx-a: 1\r\n content-length: 37\r\n\r\n${GET}`,
      'GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n',
      'GET http://a/ HTTP/1.1\r\nhost: a\r\n\r\n',
      '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'.padEnd(200, '\x01'),
      'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n',
    ]
    await Promise.all(
      texts.map(async text => {
        const raw = await wire(t, port).send(text).until('closed', 20_000)
        t.notRegex(raw, /served/, JSON.stringify(text))
      }),
    )
    t.is((await ask(port)).body, 'served')
  })

  test(`${name}: stopAccepting refuses new connections and lets exchanges under way finish`, async t => {
    const begun = deferred<Exchange>()
    const { port, listener } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      if (exchange.path === '/') exchange.write('one')
      else exchange.end('idle')
      if (exchange.path === '/') begun.resolve(exchange)
    })
    const idle = wire(t, port).send('GET /idle HTTP/1.1\r\nhost: a\r\n\r\n')
    await idle.until(/idle$/)
    const connection = wire(t, port).send(GET)
    await connection.until(/one/)
    listener.stopAccepting()
    await t.throwsAsync(ask(port), { code: 'ECONNREFUSED' })
    t.is(listener.inFlight, 1)
    const exchange = await begun.promise
    exchange.write('two')
    await sleep(20)
    exchange.end('three')
    // The connection ends with its answer, and idle ones too (uWebSockets.js: after its 10 s).
    t.is(bodyOf(await connection.until('closed', 20_000)), 'onetwothree')
    await idle.until('closed', 20_000)
    t.is(listener.inFlight, 0)
  })
})
