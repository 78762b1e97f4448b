/** Whatever a client or a pod does wrong gives the error it should, and the router serves the next request. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import { answerWith, chunked, deadOrigin, lastChunk, streamHead } from '../execution/kit-pods.js'
import { ask, bodyOf, wire } from './listener-kit.js'
import {
  chatAnswer,
  chatBody,
  type EngineName,
  engineFor,
  enginesFor,
  errorOf,
  forEachEngine,
  modelDir,
  podOf,
  post,
  rawPodFor,
  routerFor,
  sleep,
  type TestRouter,
  until,
} from './router-kit.js'

/** Status and code of an answer that must be an OpenAI-style error. */
async function fault(answer: Response) {
  const text = await answer.text()
  const { code, param, message } = errorOf(text)
  return { status: answer.status, code, param, message, headers: answer.headers }
}

async function oneEngine(t: ExecutionContext, engine: EngineName, limits = {}) {
  const { pods } = await enginesFor(t, 1)
  return routerFor(t, engine, { pods, limits })
}

const MiB = 1024 * 1024

/** Sends a body piece by piece, as fast as it is taken, until the answer comes. */
function upload(router: TestRouter, total: number, headers: Record<string, string>): Promise<string> {
  return new Promise((resolve, reject) => {
    const path = '/v1/chat/completions'
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
  test(`${engine}: malformed bodies are 400 and name the field or the place`, async t => {
    const router = await oneEngine(t, engine)
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

  test(`${engine}: a body may come one byte at a time, by length or in chunks`, async t => {
    const router = await oneEngine(t, engine)
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

  test(`${engine}: a body that does not come in time is 408`, async t => {
    const router = await oneEngine(t, engine, { bodyTimeoutMs: 300 })
    const head = 'POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{"model"'
    const text = await wire(t, router.port)
      .send(head)
      .until(/\}\s*$/)
    t.regex(text, /^HTTP\/1\.1 408 /)
    t.is(errorOf(bodyOf(text) ?? '').code, 'request_timeout')
    t.is(await podOf(router), 'a')
  })

  test(`${engine}: a template that raises is 400 with its message`, async t => {
    const { pods } = await enginesFor(t, 1)
    const chatTemplate =
      "{% if messages[0].role == 'tool' %}{{ raise_exception('roles must alternate') }}{% endif %}hi"
    const models = [{ name: 'tiny', dir: modelDir, chatTemplate }]
    const router = await routerFor(t, engine, { pods, models, limits: { asyncPrepareBytes: 2048 } })
    // Prepared on the event loop, and on the thread pool.
    for (const content of ['short', 'long '.repeat(2_000)]) {
      const messages = [{ role: 'tool', content }]
      const answer = await fault(await post(router, chatBody({ messages })))
      t.deepEqual([answer.status, answer.code], [400, 'template_error'])
      t.regex(answer.message, /roles must alternate/)
      t.is(await podOf(router), 'a')
    }
  })

  test(`${engine}: a pod that closes, or answers garbage, is 502; the next one is asked first`, async t => {
    const misdeeds: Record<string, (socket: import('node:net').Socket) => void> = {
      pod_closed_early: socket => socket.destroy(),
      pod_bad_response: socket => socket.end('HTP/9.9 what?\r\n\r\n'),
    }
    for (const [code, misdeed] of Object.entries(misdeeds)) {
      const bad = await rawPodFor(t, ({ socket }) => misdeed(socket))
      const pods = [{ url: bad.origin, id: 'bad' }]
      const alone = await routerFor(t, engine, { pods, breaker: { failures: 1_000 } })
      for (let i = 0; i < 3; i++) {
        const answer = await fault(await post(alone, chatBody()))
        t.deepEqual([answer.status, answer.code], [502, code])
        t.is(answer.headers.get('x-phyllo-pod'), 'bad')
      }
      const good = await engineFor(t)
      await alone.admin('POST', '/pods', { url: good.url, id: 'good' })
      for (let i = 0; i < 8; i++) t.is(await podOf(alone), 'good')
      const failed = bad.inference().length
      t.true(failed > 3, 'the bad one had been asked in between')
    }
  })

  test(`${engine}: an answer that breaks off looks broken: no silent end`, async t => {
    const half = '{"id":"chatcmpl-1","obj'
    const pod = await rawPodFor(t, ({ head, socket }) => {
      if (/x-case: json/i.test(head)) socket.end(answerWith(200, half.padEnd(200)).slice(0, -100))
      else {
        socket.write(streamHead)
        socket.write(chunked('data: {"choices":[]}\n\n'))
        if (/x-case: clean/i.test(head)) socket.write(lastChunk)
        else setTimeout(() => socket.destroy(), 50)
      }
    })
    const router = await routerFor(t, engine, {
      pods: [{ url: pod.origin, id: 'bad' }],
      breaker: { failures: 1_000 },
    })
    const path = '/v1/chat/completions'
    const body = chatBody({ stream: true })
    const json = await ask(router.port, { path, body, headers: { 'x-case': 'json' } })
    t.deepEqual([json.status, json.complete], [200, false])
    const cut = await ask(router.port, { path, body })
    t.deepEqual([cut.status, cut.complete], [200, true])
    const [, last = ''] = /\n\nevent: error\ndata: (.*)\n\n$/.exec(cut.body) ?? []
    t.is(errorOf(last).code, 'pod_closed_early')
    const clean = await ask(router.port, { path, body, headers: { 'x-case': 'clean' } })
    t.is(clean.body, 'data: {"choices":[]}\n\n')
  })

  test(`${engine}: a pod that never answers is 504; one that goes silent ends with an error event`, async t => {
    const pod = await rawPodFor(t, ({ head, socket }) => {
      if (/x-case: silent/i.test(head)) socket.write(streamHead + chunked('data: {}\n\n'))
      else if (/x-case: well/i.test(head)) socket.write(answerWith(200, chatAnswer))
    })
    const router = await routerFor(t, engine, {
      pods: [{ url: pod.origin, id: 'hung' }],
      timeouts: { firstByteMs: 300, idleMs: 300 },
      breaker: { failures: 1_000 },
    })
    const answer = await fault(await post(router, chatBody()))
    t.deepEqual([answer.status, answer.code], [504, 'pod_timeout'])
    const silent = await ask(router.port, {
      path: '/v1/chat/completions',
      body: chatBody({ stream: true }),
      headers: { 'x-case': 'silent' },
    })
    t.regex(silent.body, /^data: \{\}\n\n\n\nevent: error\ndata: .*"pod_timeout"/)
    t.is((await post(router, chatBody(), { 'x-case': 'well' })).status, 200)
  })

  test(`${engine}: connections refused are 502, or go to the next pod; 5xx as well`, async t => {
    const health = { unhealthyAfter: 100 }
    const breaker = { failures: 1_000 }
    const dead = { url: await deadOrigin(), id: 'dead', models: ['tiny'] }
    const sick = await engineFor(t, { fault: 'error=503' })
    const good = await engineFor(t)
    const router = await routerFor(t, engine, { pods: [dead], health, breaker })
    const refused = await fault(await post(router, chatBody()))
    t.deepEqual([refused.status, refused.code], [502, 'pod_unreachable'])
    await router.admin('POST', '/pods', { url: sick.url, id: 'sick' })
    const both = await post(router, chatBody())
    t.true(both.status === 502 || both.status === 503, `status ${both.status}`)
    await both.text()
    await router.admin('POST', '/pods', { url: good.url, id: 'good' })
    for (let i = 0; i < 8; i++) t.is(await podOf(router), 'good')
    // Streams too, as nothing has gone to the client.
    const stream = await post(router, chatBody({ stream: true }))
    t.regex(await stream.text(), /data: \[DONE\]\n\n$/)
  })

  test(`${engine}: no pod is 503 with retry-after; overloaded pods as well`, async t => {
    const router = await routerFor(t, engine, {
      models: [{ name: 'tiny', profile: 'capped' }],
      profiles: {
        capped: {
          filter: ['healthy', 'circuit-closed', { 'concurrency-cap': { max: 1 } }],
          pick: 'random',
          execute: 'single',
        },
      },
    })
    const none = await fault(await post(router, chatBody()))
    t.deepEqual([none.status, none.code, none.headers.get('retry-after')], [503, 'no_pod', '1'])
    const slow = await engineFor(t, { speed: 0.5 })
    t.is((await router.admin('POST', '/pods', { url: slow.url, id: 'slow' })).status, 201)
    const client = new AbortController()
    const first = fetch(`${router.url}/v1/chat/completions`, {
      method: 'POST',
      body: chatBody({ max_tokens: 1_000, stream: true }),
      signal: client.signal,
    })
    await until(async () => (await router.pod('slow')).inflight === 1, 'the first is on its way')
    const full = await fault(await post(router, chatBody()))
    t.deepEqual([full.status, full.code, full.headers.get('retry-after')], [503, 'overloaded', '1'])
    client.abort()
    await t.throwsAsync(
      first.then(answer => answer.text()),
      { any: true },
    )
    await until(async () => (await router.pod('slow')).inflight === 0, 'the abort frees the place')
    t.is(await podOf(router, { max_tokens: 1 }), 'slow')
    await router.admin('POST', '/pods/slow/cordon')
    const cordoned = await fault(await post(router, chatBody()))
    t.deepEqual([cordoned.status, cordoned.code], [503, 'no_pod'])
  })

  // The memory of the process is looked at, so that nothing else may run.
  test.serial(`${engine}: a body of 100 MB is 413, held nowhere`, async t => {
    const router = await oneEngine(t, engine, { bodyBytes: MiB })
    await podOf(router)
    const before = process.memoryUsage().rss
    let most = 0
    const timer = setInterval(() => {
      most = Math.max(most, process.memoryUsage().rss - before)
    }, 5)
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
    clearInterval(timer)
    t.true(most < 64 * MiB, `${Math.round(most / MiB)} MiB more`)
    const edge = chatBody({ x: '' })
    const exact = chatBody({ x: 'y'.repeat(MiB - edge.length) })
    t.is(exact.length, MiB)
    // One byte less or more decides; the engine's own limit is far above.
    t.not((await post(router, exact)).status, 413)
    t.is((await post(router, `${exact} `)).status, 413)
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
  await once(serve, 'exit')
  const said = lines.filter(line => line.includes('has no tokenizer'))
  t.is(said.length, 1, lines.join('\n'))
  t.regex(said[0] ?? '', /model 'tiny' has no tokenizer/)
})
