/** Whatever a client does wrong gives the error it should, and the router serves the next request. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { bodyOf, wire } from './listener-kit.js'
import {
  chatBody,
  engineFor,
  enginesFor,
  errorOf,
  fault,
  forEachEngine,
  join,
  joinEngines,
  modelDir,
  podOf,
  post,
  routerFor,
  sharedRouter,
  sleep,
  type TestRouter,
  until,
} from './router-kit.js'

const MiB = 1024 * 1024

/** Sends a body piece by piece, as fast as it is taken, until the answer comes. */
function upload(
  router: TestRouter,
  total: number,
  headers: Record<string, string>,
  path = '/v1/chat/completions',
): Promise<string> {
  return new Promise((resolve, reject) => {
    const req = httpRequest({
      host: '127.0.0.1',
      port: router.port,
      path,
      method: 'POST',
      agent: false,
      headers,
    })
    const piece = Buffer.alloc(MiB, 0x20)
    let sent = 0
    let answered = false
    const more = (): void => {
      while (sent < total && !answered) {
        sent += piece.length
        if (!req.write(piece)) return void req.once('drain', more)
      }
      req.end()
    }
    req.on('error', error => (answered ? undefined : reject(error)))
    req.on('response', res => {
      answered = true
      const text: Buffer[] = []
      res.on('data', (chunk: Buffer) => text.push(chunk))
      res.on('end', () => {
        req.destroy()
        resolve(`${res.statusCode} ${Buffer.concat(text)}`)
      })
    })
    more()
  })
}

forEachEngine(engine => {
  const chatTemplate =
    "{% if messages[0].role == 'tool' %}{{ raise_exception('roles must alternate') }}{% endif %}hi"
  const shared = sharedRouter(engine, {
    models: [{ name: 'raises', dir: modelDir, chatTemplate }],
    limits: { bodyBytes: MiB, asyncPrepareBytes: 2048 },
  })

  /** The router with one engine. */
  async function oneEngine(t: ExecutionContext): Promise<TestRouter> {
    const router = await shared()
    await joinEngines(t, router, 1)
    return router
  }

  test.serial(`${engine}: malformed bodies are 400 and name the field or the place`, async t => {
    const router = await oneEngine(t)
    const utf8 = Buffer.concat([
      Buffer.from('{"model":"tiny","messages":[{"role":"user","content":"'),
      Buffer.from([0xc3, 0x28]),
      Buffer.from('"}]}'),
    ])
    const cases: readonly (readonly [string | Buffer, string, string | null])[] = [
      ['', 'bad_json', null],
      ['{', 'bad_json', null],
      ['{"model":"tiny",}', 'bad_json', null],
      ['{"model":"tiny"} trailing', 'bad_json', null],
      ['not json', 'bad_json', null],
      ['{"model":"tiny","messages":[1e999999,NaN]}', 'bad_json', null],
      ['\u0000'.repeat(64), 'bad_json', null],
      [utf8, 'bad_json', null],
      [Buffer.from('{"model":"\ud800"}', 'utf16le'), 'bad_json', null],
      ['[]', 'bad_json', null],
      ['"model"', 'bad_json', null],
      ['null', 'bad_json', null],
      ['['.repeat(100_000), 'bad_json', null],
      [`{"model":"tiny","messages":${'['.repeat(5_000)}${']'.repeat(5_000)}}`, 'bad_json', null],
      ['{"model":"tiny"}', 'invalid_request', 'messages'],
      ['{"model":5,"messages":[]}', 'invalid_request', 'model'],
      ['{"model":"tiny","messages":"hello"}', 'invalid_request', 'messages'],
      ['{"model":"tiny","messages":{}}', 'invalid_request', 'messages'],
      ['{"model":"tiny","messages":null}', 'invalid_request', 'messages'],
      [chatBody({ stream: 'yes' }), 'invalid_request', 'stream'],
      [chatBody({ n: 'two' }), 'invalid_request', 'n'],
      [chatBody({ n: 1.5 }), 'invalid_request', 'n'],
      [chatBody({ tools: 'hammer' }), 'invalid_request', 'tools'],
    ]
    for (const [body, code, param] of cases) {
      const name = String(body).slice(0, 60)
      const answer = await fault(await post(router, body))
      t.deepEqual([answer.status, answer.code, answer.param], [400, code, param], name)
      t.truthy(answer.headers.get('x-request-id'), name)
      t.is(await podOf(router), 'a', `after ${name}`)
    }
    const missing = await fault(await post(router, chatBody({ model: 'x' })))
    t.deepEqual([missing.status, missing.code, missing.param], [404, 'model_not_found', 'model'])
    // Wrong in a way that the router does not look into: the pod's own words.
    const wrong = await post(router, chatBody({ messages: [{ role: 'user', content: 5 }] }))
    t.true(wrong.status >= 400 && wrong.status < 500, `status ${wrong.status}`)
    await wrong.text()
    t.is(await podOf(router), 'a')
  })

  test.serial(`${engine}: a body may come one byte at a time, by length or in chunks`, async t => {
    const router = await oneEngine(t)
    const body = chatBody({ max_tokens: 2 })
    const head = 'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n'
    const wholes = [
      [`content-length: ${body.length}\r\n\r\n`, [...body]],
      ['transfer-encoding: chunked\r\n\r\n', [...[...body].map(byte => `1\r\n${byte}\r\n`), '0\r\n\r\n']],
    ] as const
    for (const [framing, pieces] of wholes) {
      const connection = wire(t, router.port).send(head + framing)
      for (const piece of pieces) {
        connection.send(piece)
        await new Promise(resolve => setImmediate(resolve))
      }
      const text = await connection.until(/\}\s*$/)
      t.regex(text, /^HTTP\/1\.1 200 /)
      t.regex(bodyOf(text) ?? '', /"chat\.completion"/)
    }
    // A client that stops half-way costs nothing.
    const lost = wire(t, router.port).send(`${head}content-length: 100\r\n\r\n{"model"`)
    await sleep(50)
    lost.destroy()
    t.is(await podOf(router), 'a')
  })

  test.serial(`${engine}: a body that does not come in time is 408`, async t => {
    const { pods } = await enginesFor(t, 1)
    const router = await routerFor(t, engine, { pods, limits: { bodyTimeoutMs: 300 } })
    const head = 'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"model"'
    const text = await wire(t, router.port)
      .send(head)
      .until(/\}\s*$/)
    t.regex(text, /^HTTP\/1\.1 408 /)
    t.regex(text, /\r\nx-request-id: \S+\r\n/i)
    t.is(errorOf(bodyOf(text) ?? '').code, 'request_timeout')
    t.is(await podOf(router), 'a')
  })

  test.serial(`${engine}: a template that raises is 400 with its message`, async t => {
    const pod = await engineFor(t, { model: 'raises' })
    const router = await join(t, await shared(), { a: pod.url })
    // Prepared on the event loop, and on the thread pool.
    for (const content of ['short', 'long '.repeat(2_000)]) {
      const messages = [{ role: 'tool', content }]
      const answer = await fault(await post(router, chatBody({ model: 'raises', messages })))
      t.deepEqual([answer.status, answer.code], [400, 'template_error'])
      t.regex(answer.message, /roles must alternate/)
      t.is(await podOf(router, { model: 'raises' }), 'a')
    }
  })

  // The server closes with the answer's last byte, and bytes unread by then make the kernel send a reset.
  test.serial(
    `${engine}: a refusal reaches a client that asked for a close (a reset overtook one in two)`,
    async t => {
      const router = await oneEngine(t)
      const headers = { 'transfer-encoding': 'chunked', connection: 'close' }
      for (let i = 0; i < 8; i++) {
        t.regex(await upload(router, 10 * MiB, headers), /^413 /)
        t.regex(await upload(router, 10 * MiB, headers, '/nothing'), /^404 /)
      }
      t.is(await podOf(router), 'a')
    },
  )

  // The memory of the process is looked at, so that nothing else may run.
  test.serial(`${engine}: a body of 100 MB is 413, held nowhere`, async t => {
    const router = await oneEngine(t)
    await podOf(router)
    const before = process.memoryUsage().rss
    let most = 0
    const timer = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss - before)
    }, 5)
    t.teardown(() => clearInterval(timer))
    for (const headers of [
      { 'content-length': String(100 * MiB) },
      { 'transfer-encoding': 'chunked' },
      // The limit is what is counted, not what is announced.
      { 'transfer-encoding': 'chunked', expect: '100-continue' },
    ]) {
      const text = await upload(router, 100 * MiB, headers)
      t.regex(text, /^413 /)
      t.is(errorOf(text.slice(4)).code, 'body_too_large')
      t.is(await podOf(router), 'a')
    }
    t.true(most < 64 * MiB, `${Math.round(most / MiB)} MiB more`)
    const edge = chatBody({ x: '' })
    const exact = chatBody({ x: 'y'.repeat(MiB - edge.length) })
    t.is(exact.length, MiB)
    // One byte less or more decides; the engine's own limit is far above.
    t.not((await post(router, exact)).status, 413)
    const over = await fault(await post(router, `${exact} `))
    t.deepEqual([over.status, over.code], [413, 'body_too_large'])
  })
})

test.serial('a model without a tokenizer: matched by text, said once, whatever comes', async t => {
  const pod = await engineFor(t)
  const main = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))
  const flags = [
    '--host',
    '127.0.0.1',
    '--port',
    '0',
    '--admin-port',
    '0',
    '--workers',
    '1',
    '--pod',
    pod.url,
  ]
  const serve = spawn(process.execPath, [main, 'serve', '--log-format', 'json', ...flags])
  t.teardown(() => serve.kill('SIGKILL'))
  const lines: string[] = []
  const log = createInterface({ input: serve.stderr })
  log.on('line', line => lines.push(line))
  let url = ''
  let adminUrl = ''
  await until(() => {
    ;[, url = '', adminUrl = ''] =
      /serving on (http:[^ ]+) .*admin on (http:[^" ]+)/.exec(lines.join('\n')) ?? []
    return url !== ''
  }, 'it serves').catch(() => t.fail(lines.join('\n')))
  const router = {
    url,
    adminUrl,
    close: async () => undefined,
  }
  // Long enough for blocks: turn two must find those of turn one, by text.
  const content = 'a leaf on a stem '.repeat(200)
  for (let i = 0; i < 3; i++) await podOf(router, { messages: [{ role: 'user', content }] })
  await (
    await fetch(`${adminUrl}/pods`, { method: 'POST', body: JSON.stringify({ url: pod.url, id: 'again' }) })
  ).text()
  const explain = await fetch(`${adminUrl}/explain`, {
    method: 'POST',
    body: chatBody({ messages: [{ role: 'user', content }] }),
  })
  const decision: unknown = await explain.json()
  t.like(decision, { prepare: { prompt: { exact: false } } })
  serve.kill('SIGTERM')
  // All that it wrote has been read.
  await Promise.all([once(serve, 'close'), once(log, 'close')])
  const said = lines.filter(line => line.includes('has no tokenizer'))
  t.is(said.length, 1, lines.join('\n'))
  t.regex(said[0] ?? '', /model 'tiny' has no tokenizer/)
})
