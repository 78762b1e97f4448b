/** What passes the public port, and what never does: paths, methods, bytes, headers; on both HTTP servers. */
import test from 'ava'
import { answerWith } from '../execution/kit-pods.js'
import { ask, wire } from './listener-kit.js'
import {
  chatAnswer,
  chatBody,
  errorOf,
  forEachEngine,
  join,
  joinEngines,
  post,
  rawPodFor,
  sharedRouter,
  type TestRouter,
} from './router-kit.js'

/** Two open paths; the others are control paths, which stay closed although they are named. */
const passthrough = [
  ...['/tokenize', '/version'],
  ...['/sleep', '/v1/load_lora_adapter', '/%73leep', '//sleep', '/x/../sleep', '/SLEEP', '/sleep/'],
]

const closed = [
  ...['/sleep', '/%73leep', '/%2573leep', '//sleep', '/x/../sleep', '/./sleep', '/SLEEP', '/sleep/'],
  ...['/sleep;x', '/sleep%00', '/sleep%20', '/sleep%3Flevel=1', '/sleep?level=1', '/v1/sleep', '/\\sleep'],
  ...['/tokenize/../sleep', '/tokenize/', '/TOKENIZE', '/tokenize%2f..%2fsleep', '/detokenize'],
  ...['/reset_prefix_cache', '/v1//chat/completions', '//v1/chat/completions', '/v1/%63hat/completions'],
  ...['/V1/chat/completions', '/v1/chat/completions/', '/v1/chat/completions/../../../sleep'],
  ...[
    '/v1/load_lora_adapter',
    '/v1/unload_lora_adapter',
    '/metrics',
    '/sim/stats',
    '/',
    '/v1',
    '/v1/models/',
  ],
  ...['/v1/models/..%2f..%2fsleep', '/v1/responses/..%2f..%2fsleep', '/v1/responses/../../sleep'],
  ...['/v1/responses/resp_1/../../../sleep', '/%ff', '/%'],
]

forEachEngine(engine => {
  const models = [{ name: 'tiny', aliases: ['a "quoted" alias', 'x'] }]
  const shared = sharedRouter(engine, { passthrough, models })

  test.serial(
    `${engine}: the client's bytes and headers reach the pod as they are; ids come back`,
    async t => {
      const pod = await rawPodFor(t, ({ socket }) =>
        socket.write(answerWith(200, chatAnswer, ['x-engine-extra: 7'])),
      )
      const router = await join(t, await shared(), { raw: pod.origin })
      const body = `{ "model":"tiny",\n "x_unknown": [1.10, {"deep":null}],"messages":[{"role":"user","content":"h\\u0069 ✓"}],"seed":18446744073709551615 }`
      const headers = { authorization: 'Bearer secret', 'x-custom': 'kept', 'x-request-id': 'mine-1' }
      const answer = await post(router, body, headers)
      t.is(await answer.text(), chatAnswer)
      t.is(answer.headers.get('x-phyllo-pod'), 'raw')
      t.is(answer.headers.get('x-request-id'), 'mine-1')
      t.is(answer.headers.get('x-engine-extra'), '7')
      const [sent] = pod.inference()
      t.is(sent?.body.toString(), body)
      t.regex(sent?.head ?? '', /^POST \/v1\/chat\/completions HTTP\/1\.1\r\n/)
      t.regex(sent?.head ?? '', /\r\nauthorization: Bearer secret\r\n/i)
      t.regex(sent?.head ?? '', /\r\nx-custom: kept\r\n/i)
      t.regex(`${sent?.head}\r\n`, /\r\nx-request-id: mine-1\r\n/i)

      for (const insane of ['two words', 'x'.repeat(129), 'é']) {
        const other = await ask(router.port, {
          method: 'POST',
          path: '/v1/chat/completions?beta=true',
          headers: { 'x-request-id': insane },
          body: chatBody(),
        })
        t.is(other.status, 200)
        t.regex(String(other.headers['x-request-id']), /^phy-[\w-]+$/)
      }
      t.regex(pod.inference().at(-1)?.head ?? '', /^POST \/v1\/chat\/completions\?beta=true HTTP/)
    },
  )

  test.serial(
    `${engine}: an alias reaches the pod under the model's own name, all else as it was`,
    async t => {
      const pod = await rawPodFor(t, ({ socket }) => socket.write(answerWith(200, chatAnswer)))
      const router = await join(t, await shared(), { raw: pod.origin })
      const body = (model: string) =>
        `{"user":"u1", "model" : ${model} ,"messages":[{"role":"user","content":"model"}]}`
      for (const alias of ['"a \\"quoted\\" alias"', '"x"', '"\\u0078"', '"tiny"']) {
        t.is((await post(router, body(alias))).status, 200)
        t.is(pod.inference().at(-1)?.body.toString(), body('"tiny"'))
      }
    },
  )

  test.serial(`${engine}: only named paths pass, and control paths never do`, async t => {
    const router = await shared()
    const [pod] = await joinEngines(t, router, 1)
    const tokenize = await ask(router.port, { path: '/tokenize', body: '{"model":"tiny","prompt":"hello"}' })
    t.is(tokenize.status, 200)
    t.is(tokenize.headers['x-phyllo-pod'], 'a')
    t.truthy(tokenize.headers['x-request-id'])
    t.is((await ask(router.port, { path: '/version' })).status, 200)
    const reached = () => Object.keys(pod?.requests() ?? {}).sort()
    const before = reached()
    t.deepEqual(before, ['GET /health', 'GET /v1/models', 'GET /version', 'POST /tokenize'])
    for (const path of closed) {
      for (const method of ['GET', 'POST']) {
        const body = method === 'POST' ? { body: '{"level":1}' } : {}
        const answer = await ask(router.port, { method, path, ...body })
        t.true([400, 404, 405].includes(answer.status), `${method} ${path}: ${answer.status}`)
        t.truthy(errorOf(answer.body).code, path)
      }
    }
    // Forms of the request line that no client sends to a server: absolute, and for proxies.
    for (const target of ['http://127.0.0.1/sleep', `http://127.0.0.1:${pod?.port}/sleep`, '*', 'sleep']) {
      const raw = wire(t, router.port).send(`POST ${target} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n`)
      t.notRegex(await raw.until(/\r\n\r\n/), /^HTTP\/1\.1 [23]/, target)
    }
    t.deepEqual(reached(), before, 'none of these reached the pod')
  })

  test.serial(
    `${engine}: methods: GET and HEAD where they belong, 405 with what is allowed elsewhere`,
    async t => {
      const router: TestRouter = await shared()
      const [pod] = await joinEngines(t, router, 1)
      const { port } = router
      const list = await ask(port, { path: '/v1/models' })
      const head = await ask(port, { method: 'HEAD', path: '/v1/models' })
      t.is(head.status, 200)
      t.is(head.body, '')
      t.is(head.headers['content-length'], String(Buffer.byteLength(list.body)))
      for (const [method, path, allow] of [
        ['GET', '/v1/chat/completions', 'POST'],
        ['OPTIONS', '/v1/chat/completions', 'POST'],
        ['PUT', '/v1/embeddings', 'POST'],
        ['HEAD', '/v1/messages', 'POST'],
        ['POST', '/v1/models', 'GET, HEAD'],
        ['DELETE', '/v1/models/tiny', 'GET, HEAD'],
        ['PATCH', '/v1/responses/resp_1', 'GET, POST, DELETE'],
      ] as const) {
        const answer = await ask(port, { method, path })
        t.is(answer.status, 405, `${method} ${path}`)
        t.is(answer.headers.allow, allow)
        t.truthy(answer.headers['x-request-id'])
        if (method !== 'HEAD') t.is(errorOf(answer.body).code, 'method_not_allowed')
      }
      // A named path takes any method: the pod judges. A HEAD answer must not be waited for.
      t.is((await ask(port, { method: 'HEAD', path: '/version' })).body, '')
      t.is((await ask(port, { method: 'DELETE', path: '/version' })).status, 404)
      t.is(pod?.requests()['DELETE /version'], 1)
    },
  )
})
