import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import test, { type ExecutionContext } from 'ava'
import { chooseListener } from '#phyllo/server/listener/choose.js'
import type { Exchange } from '#phyllo/server/listener/listener.js'
import { nodeCanShare } from '#phyllo/server/listener/node.js'
import { ask, bodyOf, deferred, forEachListener, serve, wire } from './listener-kit.js'

const GET = 'GET / HTTP/1.1\r\nhost: a\r\n\r\n'

async function startWorker(t: ExecutionContext, engine: string, port: number): Promise<[Worker, unknown]> {
  const worker = new Worker(new URL('./listener-worker.js', import.meta.url), {
    workerData: { engine, port },
  })
  const [answer] = await once(worker, 'message')
  t.teardown(() => worker.postMessage('close'))
  return [worker, answer]
}

forEachListener((factory, name) => {
  test(`${name}: an answer begun after stopAccepting says that the connection closes`, async t => {
    const begun = deferred<Exchange>()
    const { port, listener } = await serve(t, factory, exchange => begun.resolve(exchange))
    const connection = wire(t, port).send(GET)
    const exchange = await begun.promise
    listener.stopAccepting()
    exchange.begin(200, [])
    exchange.end('bye')
    const raw = await connection.until('closed')
    t.regex(raw, /connection: close/i)
    t.is(bodyOf(raw), 'bye')
  })

  test(`${name}: close ends everything at once, and aborts what is under way`, async t => {
    const begun = deferred<void>()
    const aborted = deferred<void>()
    const { port, listener } = await serve(t, factory, exchange => {
      exchange.onAborted(() => aborted.resolve())
      begun.resolve()
    })
    const connection = wire(t, port).send(GET)
    await begun.promise
    await listener.close()
    await aborted.promise
    await connection.until('closed')
    t.is(listener.inFlight, 0)
    await t.throwsAsync(ask(port), { code: 'ECONNREFUSED' })
    await listener.close()
  })

  test(`${name}: a port that is taken is a clear error`, async t => {
    const { port } = await serve(t, factory, exchange => exchange.abort())
    const second = factory.create(
      { host: '127.0.0.1', port, shared: false, maxHeaderBytes: 16_384 },
      () => undefined,
    )
    await t.throwsAsync(second.listen(), { message: new RegExp(`cannot listen on 127.0.0.1:${port}`) })
    await second.close()
  })

  test(`${name}: worker threads share a port where canShare says so, and take long headers`, async t => {
    const [first, port] = await startWorker(t, name, 0)
    const [second, again] = await startWorker(t, name, Number(port))
    if (factory.canShare) {
      t.is(again, port)
      const answered = new Set<string>()
      const headers = { authorization: 'j'.repeat(15_000) }
      for (let i = 0; i < 200 && answered.size < 2; i++) {
        const answer = await ask(Number(port), { headers })
        t.is(answer.status, 200)
        answered.add(answer.body)
      }
      t.is(answered.size, 2)
    } else {
      t.regex(String(again), /cannot listen on .*EADDRINUSE.*run one worker, or use listen.engine: uws/)
    }
    // A uWebSockets.js worker that ends with a live app takes the process with it; a closed one does not.
    const ended = [once(first, 'exit'), once(second, 'exit')]
    first.postMessage('close')
    second.postMessage('close')
    t.deepEqual(await Promise.all(ended), [[0], [0]])
  })
})

test('chooseListener: node is node, auto says why', async t => {
  const node = await chooseListener('node')
  t.is(node.factory.name, 'node')
  const auto = await chooseListener('auto')
  const uws = await chooseListener('uws').then(
    chosen => chosen.factory.name,
    () => null,
  )
  t.is(auto.factory.name, uws ?? 'node')
  t.notRegex(auto.reason, /\n/)
  t.log(auto.reason)
})

test('nodeCanShare: reusePort came with 22.12 and 23.1', t => {
  for (const [version, can] of [
    ['20.19.0', false],
    ['22.11.0', false],
    ['22.12.0', true],
    ['23.0.0', false],
    ['23.1.0', true],
    ['24.0.0', true],
  ] as const) {
    t.is(nodeCanShare(version, 'linux'), can, version)
    t.false(nodeCanShare(version, 'darwin'))
  }
})
