import test from 'ava'
import { PhylloError } from '#phyllo/errors.js'
import { answerError } from '#phyllo/execution/error-answer.js'
import type { Exchange, HeaderList } from '#phyllo/server/listener/listener.js'
import { ask, bodyOf, deferred, echo, forEachListener, serve, sleep, wire } from './listener-kit.js'

const GET = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'

forEachListener((factory, name) => {
  test(`${name}: method, path, query, headers and address reach the handler`, async t => {
    let seen: Exchange | undefined
    let address = ''
    const { port } = await serve(t, factory, exchange => {
      seen = exchange
      address = exchange.remoteAddress
      exchange.begin(200, [])
      exchange.end('ok')
    })
    await ask(port, { method: 'DELETE', path: '/v1/a%20b?x=1&y=%3F?', headers: { 'X-Test': 'One' } })
    t.is(seen?.method, 'DELETE')
    t.is(seen?.path, '/v1/a%20b')
    t.is(seen?.query, 'x=1&y=%3F?')
    t.is(seen?.header('x-test'), 'One')
    t.is(seen?.header('absent'), undefined)
    t.is(address, '127.0.0.1')
    t.true(seen?.closed)
  })

  test(`${name}: begin and end in one tick is one answer with a content-length and a reason phrase`, async t => {
    const { port } = await serve(t, factory, exchange => {
      exchange.begin(404, ['content-type', 'text/plain', 'x-a', '1'])
      exchange.end('größe')
    })
    const answer = await ask(port)
    t.is(answer.status, 404)
    t.is(answer.reason, 'Not Found')
    t.is(answer.headers['content-length'], '7')
    t.is(answer.headers['x-a'], '1')
    t.false('uwebsockets' in answer.headers)
    t.truthy(answer.headers.date)
    t.is(answer.body, 'größe')
  })

  test(`${name}: pieces of one tick go out as one chunk, strings and bytes in order`, async t => {
    const { port } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      exchange.write('a')
      exchange.write(Buffer.from('bé'))
      exchange.write('c€')
      setTimeout(() => {
        exchange.write('d')
        exchange.write('e')
        exchange.end('f')
      }, 20)
    })
    const raw = await wire(t, port)
      .send(GET)
      .until(/0\r\n\r\n$/)
    t.is(bodyOf(raw), Buffer.from('abéc€def').toString('latin1'))
    t.regex(raw, /\r\n\r\n8\r\nab.*\r\n3\r\ndef\r\n0\r\n\r\n$/s)
  })

  test(`${name}: writes and end of one tick need no chunks`, async t => {
    const { port } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      exchange.write('a')
      exchange.write('b')
      exchange.end()
    })
    const answer = await ask(port)
    t.is(answer.headers['content-length'], '2')
    t.is(answer.body, 'ab')
  })

  test(`${name}: bodies of any size arrive whole, in one piece or many`, async t => {
    const { port } = await serve(t, factory, echo(40 << 20))
    for (const size of [0, 1, 4_096, 65_536, 65_537, 1 << 20, 20 << 20]) {
      const body = Buffer.alloc(size, 'phyllo-')
      const answer = await ask(port, { body })
      t.is(answer.body, body.toString(), `${size} bytes`)
    }
  })

  test(`${name}: a chunked upload and a body on GET are read`, async t => {
    const { port } = await serve(t, factory, echo())
    const chunked =
      'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n'
    t.is(
      bodyOf(
        await wire(t, port)
          .send(chunked)
          .until(/abcde$/),
      ),
      'abcde',
    )
    const get = 'GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody'
    t.is(bodyOf(await wire(t, port).send(get).until(/body$/)), 'body')
  })

  test(`${name}: a body handed over is not overwritten by the next request`, async t => {
    const bodies: Buffer[] = []
    const { port } = await serve(t, factory, exchange => {
      exchange.readBody(1 << 20, 5_000, body => {
        if (body !== null) bodies.push(body)
        exchange.begin(200, [])
        exchange.end()
      })
    })
    for (const letter of 'abc') await ask(port, { body: letter.repeat(50_000) })
    t.deepEqual(
      bodies.map(body => body.toString()),
      ['a', 'b', 'c'].map(letter => letter.repeat(50_000)),
    )
  })

  test(`${name}: a body over the cap is too_large, the client hears 413, and the next request is served`, async t => {
    const { port } = await serve(t, factory, echo(1_000))
    for (const size of [1_001, 5 << 20]) {
      const answer = await ask(port, { body: Buffer.alloc(size) })
      t.is(answer.status, 413)
      t.is(answer.body, 'fault: too_large')
    }
    t.is((await ask(port, { body: Buffer.alloc(1_000) })).status, 200)
  })

  test(`${name}: a body sent one byte at a time is the same body`, async t => {
    const { port } = await serve(t, factory, echo())
    const connection = wire(t, port).send('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 11\r\n\r\n')
    for (const byte of 'hello world') {
      await sleep(2)
      connection.send(byte)
    }
    t.is(bodyOf(await connection.until(/hello world$/)), 'hello world')
  })

  test(`${name}: a head sent one byte at a time is served, or refused cleanly`, async t => {
    // uWebSockets.js 20.5x refuses a request line that is split over two reads, but takes split headers.
    const { port } = await serve(t, factory, echo())
    const head = 'GET / HTTP/1.1\r\nhost: a\r\nx-long: 0123456789\r\n\r\n'
    const served = name === 'uws' ? 505 : 200
    for (const [whole, status] of [
      [0, served],
      [head.indexOf('host'), 200],
    ] as const) {
      const connection = wire(t, port).send(head.slice(0, whole))
      for (const byte of head.slice(whole)) {
        await sleep(2)
        // What has come is read before more is sent: bytes for a connection that was refused and closed bring a reset,
        // and that can overtake the answer.
        await new Promise(setImmediate)
        if (connection.text !== '') break
        connection.send(byte)
      }
      t.is((await connection.until(/\r\n\r\n/)).slice(9, 12), String(status))
    }
  })

  test(`${name}: a body that never ends is a timeout, answered with 408, and the connection ends`, async t => {
    const { port } = await serve(t, factory, echo(100, 200))
    const raw = await wire(t, port)
      .send('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc')
      .until('closed')
    t.regex(raw, /^HTTP\/1\.1 408 Request Timeout\r\n/)
    t.is(bodyOf(raw), 'fault: timeout')
  })

  test(`${name}: a client that leaves during its upload is an aborted body, and then an abort`, async t => {
    const events: string[] = []
    const gone = deferred<void>()
    const { port, listener } = await serve(t, factory, exchange => {
      exchange.readBody(100, 5_000, (_body, fault) => events.push(String(fault)))
      exchange.onAborted(() => {
        events.push('abort')
        gone.resolve()
      })
    })
    const connection = wire(t, port).send('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc')
    while (listener.inFlight === 0) await sleep(5)
    connection.destroy()
    await gone.promise
    t.deepEqual(events, ['aborted', 'abort'])
  })

  test(`${name}: a handler that returns without answering does not end the process, and sees the abort`, async t => {
    // uWebSockets.js calls std::terminate for an unanswered request without an abort handler.
    const begun = deferred<Exchange>()
    const aborted = deferred<void>()
    const { port, listener } = await serve(t, factory, exchange => {
      exchange.onAborted(() => aborted.resolve())
      begun.resolve(exchange)
    })
    const connection = wire(t, port).send(GET)
    const exchange = await begun.promise
    t.is(listener.inFlight, 1)
    t.false(exchange.closed)
    connection.destroy()
    await aborted.promise
    t.true(exchange.closed)
    while (listener.inFlight > 0) await sleep(5)
  })

  test(`${name}: after an abort every method is a no-op, where uWebSockets.js itself throws`, async t => {
    const aborted = deferred<Exchange>()
    let aborts = 0
    const { port, errors } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      exchange.write('first')
      exchange.onAborted(() => {
        aborts += 1
        aborted.resolve(exchange)
      })
    })
    const connection = wire(t, port).send(GET)
    await connection.until(/first/)
    connection.destroy()
    const exchange = await aborted.promise
    exchange.begin(200, [])
    t.true(exchange.write('more'))
    exchange.onWritable(() => t.fail())
    exchange.readBody(1, 1, () => t.fail())
    exchange.end('end')
    exchange.abort()
    answerError(exchange, new PhylloError('no_pod', 'none'), {})
    t.is(typeof exchange.remoteAddress, 'string')
    await sleep(20)
    t.is(aborts, 1)
    t.deepEqual(errors, [])
  })

  test(`${name}: writes after the client reset the connection end in one abort, not in an exception`, async t => {
    const aborted = deferred<void>()
    const { port, errors } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      const timer = setInterval(() => exchange.write('x'.repeat(1_000)), 1)
      exchange.onAborted(() => {
        clearInterval(timer)
        aborted.resolve()
      })
    })
    const connection = wire(t, port).send(GET)
    await connection.until(/xxx/)
    connection.socket.resetAndDestroy()
    await aborted.promise
    t.deepEqual(errors, [])
  })

  test(`${name}: an error thrown by the handler or its callbacks is a 500, and the process lives`, async t => {
    const { port, errors, listener } = await serve(t, factory, exchange => {
      if (exchange.path === '/known') throw new PhylloError('no_pod', 'no pod is ready')
      if (exchange.path === '/begun') exchange.begin(200, ['x-leak', '1'])
      if (exchange.path !== '/body') throw new Error('boom')
      exchange.readBody(100, 1_000, () => {
        throw new Error('boom')
      })
    })
    for (const path of ['/', '/begun', '/body']) {
      const answer = await ask(port, { path, headers: { 'x-request-id': 'r1' } })
      t.is(answer.status, 500, path)
      t.is(answer.headers['x-request-id'], 'r1')
      t.is(answer.headers['x-leak'], undefined)
      t.deepEqual(JSON.parse(answer.body), {
        error: { message: 'internal error: boom', type: 'server_error', param: null, code: 'internal_error' },
      })
    }
    const known = await ask(port, { path: '/known' })
    t.is(known.status, 503)
    t.is(known.headers['retry-after'], '1')
    t.regex(String(known.headers['x-request-id']), /^phy-[0-9a-f]+-[0-9a-z]+$/)
    t.is(errors.length, 4)
    while (listener.inFlight > 0) await sleep(5)
  })

  test(`${name}: an error thrown after the first byte breaks the stream visibly`, async t => {
    const { port, errors } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      exchange.write('part')
      exchange.readBody(10, 1_000, () => {
        throw new Error('boom')
      })
    })
    const connection = wire(t, port).send('POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n1')
    await connection.until(/part/)
    const raw = await connection.send('2').until('closed')
    t.is(bodyOf(raw), null)
    t.is(errors.length, 1)
  })

  test(`${name}: abort breaks the stream: no well-formed end, and no onAborted for one's own abort`, async t => {
    let aborts = 0
    const { port, listener } = await serve(t, factory, exchange => {
      exchange.onAborted(() => {
        aborts += 1
      })
      exchange.begin(200, [])
      exchange.write('part')
      setTimeout(() => exchange.abort(), 30)
    })
    const answer = await ask(port)
    t.is(answer.body, 'part')
    t.false(answer.complete)
    t.is(aborts, 0)
    while (listener.inFlight > 0) await sleep(5)
  })

  test(`${name}: CR, LF and NUL in an answer's header values inject nothing`, async t => {
    // U+010D: its low byte, which is all that Latin-1 keeps, is a carriage return.
    const evil = ['a\r\nx-evil: 1', 'b\nx-evil: 2', 'c\0d', 'e\u010d\u010ax-evil: 3', 'f\r\n\r\nbody', 'é']
    const headers: HeaderList = evil.flatMap((value, i) => [`x-${i}`, value])
    const { port } = await serve(t, factory, exchange => {
      exchange.begin(200, [...headers, 'x-bad name', 'v', 'x-bad\r\nx-evil', 'v', '', 'v'])
      exchange.end('ok')
    })
    const answer = await ask(port)
    t.is(answer.body, 'ok')
    t.is(answer.headers['x-evil'], undefined)
    t.is(answer.headers['x-0'], 'a  x-evil: 1')
    t.is(answer.headers['x-2'], 'c d')
    t.is(answer.headers['x-3'], 'e??x-evil: 3')
    t.is(answer.headers['x-5'], 'é')
    t.false(Object.keys(answer.headers).some(key => key.startsWith('x-bad')))
  })

  test(`${name}: a pod's framing and hop-by-hop headers are not passed on`, async t => {
    const { port } = await serve(t, factory, exchange => {
      exchange.begin(200, [
        ...['content-length', '999', 'Transfer-Encoding', 'chunked', 'Connection', 'x-a', 'date', 'never'],
        ...['upgrade', 'h2c', 'trailer', 'x', 'proxy-authenticate', 'Basic', 'x-kept', 'yes'],
      ])
      exchange.end('ok')
    })
    const { headers, body } = await ask(port)
    t.is(body, 'ok')
    t.is(headers['content-length'], '2')
    t.is(headers['transfer-encoding'], undefined)
    t.is(headers.upgrade, undefined)
    t.is(headers.trailer, undefined)
    t.is(headers['proxy-authenticate'], undefined)
    t.not(headers.date, 'never')
    t.is(headers['x-kept'], 'yes')
  })

  test(`${name}: HEAD, 204 and 304 have no body, even if the handler writes one`, async t => {
    const { port } = await serve(t, factory, exchange => {
      exchange.begin(Number(exchange.path.slice(1)), ['x-a', '1'])
      if (exchange.query === 'write') exchange.write('body')
      exchange.end(exchange.query === 'write' ? undefined : 'body')
    })
    const connection = wire(t, port)
    for (const [method, target, length] of [
      ['HEAD', '/200', '4'],
      ['HEAD', '/200?write', undefined],
      ['GET', '/204', undefined],
      ['GET', '/304', undefined],
    ]) {
      connection.forget()
      // The same connection: a stray body would be read as the next answer.
      const raw = await connection.send(`${method} ${target} HTTP/1.1\r\nhost: a\r\n\r\n`).until(/\r\n\r\n/)
      t.true(raw.endsWith('\r\n\r\n'), raw)
      t.is(/content-length: (\d+)/i.exec(raw)?.[1], length, `${method} ${target}`)
      t.notRegex(raw, /chunked/i)
    }
  })

  test(`${name}: Expect: 100-continue is answered before the body comes`, async t => {
    const { port } = await serve(t, factory, echo())
    const connection = wire(t, port).send(
      'POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n',
    )
    t.regex(await connection.until(/\r\n\r\n/), /^HTTP\/1\.1 100 Continue\r\n/)
    t.regex(await connection.send('body').until(/body$/), /HTTP\/1\.1 200 OK\r\n/)
  })

  test(`${name}: requests of one connection in turn, and pipelined ones answered at once`, async t => {
    const { port } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      exchange.end(exchange.path)
    })
    const connection = wire(t, port)
    for (const path of ['/1', '/2']) {
      connection.forget()
      t.is(bodyOf(await connection.send(`GET ${path} HTTP/1.1\r\nhost: a\r\n\r\n`).until(/\/\d$/)), path)
    }
    connection.forget()
    connection.send('GET /3 HTTP/1.1\r\nhost: a\r\n\r\nGET /4 HTTP/1.1\r\nhost: a\r\n\r\n')
    t.regex(await connection.until(/\/4$/), /\/3HTTP\/1\.1 200 OK/)
  })

  test(`${name}: a pipelined request never gets another one's answer`, async t => {
    // uWebSockets.js ends the connection when a request comes while one is unanswered; node:http keeps the order.
    const { port, errors } = await serve(t, factory, exchange => {
      setTimeout(
        () => {
          exchange.begin(200, [])
          exchange.end(`<${exchange.path}>`)
        },
        exchange.path === '/slow' ? 60 : 1,
      )
    })
    const raw = await wire(t, port)
      .send('GET /slow HTTP/1.1\r\nhost: a\r\n\r\nGET /fast HTTP/1.1\r\nhost: a\r\n\r\n')
      .until(/<\/fast>$/)
    t.regex(raw, name === 'uws' ? /^$/ : /^HTTP[^<]*<\/slow>HTTP[^<]*<\/fast>$/)
    t.deepEqual(errors, [])
  })

  test(`${name}: backpressure: a slow client makes write answer false, onWritable lets it go on`, async t => {
    const total = 200
    const piece = Buffer.alloc(100_000, 'p')
    let sent = 0
    let waits = 0
    let most = 0
    const { port } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      const pump = (): void => {
        while (sent < total) {
          sent += 1
          if (!exchange.write(piece)) {
            waits += 1
            return
          }
        }
        exchange.end('end')
      }
      exchange.onWritable(pump)
      pump()
    })
    const connection = wire(t, port)
    connection.socket.pause()
    connection.send(GET)
    await sleep(300)
    most = sent
    t.true(most < total, 'all 20 MB were taken although the client reads nothing')
    connection.socket.resume()
    const raw = await connection.until(/end\r\n0\r\n\r\n$/, 20_000)
    t.is(bodyOf(raw)?.length, total * piece.length + 3)
    t.true(waits > 0)
  })

  test(`${name}: what was written last reaches a slow client without another write to push it`, async t => {
    // With onWritable registered, uWebSockets.js does not send what it has buffered when the socket is writable.
    const piece = Buffer.alloc(64 * 1024, 'l')
    let sent = 0
    const { port } = await serve(t, factory, exchange => {
      exchange.begin(200, [])
      do sent += piece.length
      while (exchange.write(piece))
    })
    const connection = wire(t, port)
    connection.socket.pause()
    connection.send(GET)
    while (sent === 0) await sleep(20)
    await sleep(100)
    connection.socket.resume()
    const deadline = Date.now() + 10_000
    while (connection.received < sent && Date.now() < deadline) await sleep(20)
    t.true(connection.received > sent, `${connection.received} of ${sent} bytes`)
  })
})
