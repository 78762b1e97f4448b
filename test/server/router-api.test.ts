/** The public port as clients of OpenAI's API see it: the official client and raw HTTP, on both HTTP servers. */
import { createServer } from 'node:net'
import test, { type ExecutionContext } from 'ava'
import OpenAI from 'openai'
import { startEngine } from '#phyllo/simulation/engine/http.js'
import { answerWith, deadOrigin } from '../execution/kit-pods.js'
import { at } from '../simulation/kit.js'
import { ask } from './listener-kit.js'
import {
  chatAnswer,
  chatBody,
  type EngineName,
  engineFor,
  enginesFor,
  errorOf,
  forEachEngine,
  post,
  rawPodFor,
  routerFor,
  until,
  user,
} from './router-kit.js'

const weather = {
  type: 'function' as const,
  function: {
    name: 'weather',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
}

async function oneEngine(t: ExecutionContext, engine: EngineName) {
  const { engines, pods } = await enginesFor(t, 1)
  const router = await routerFor(t, engine, { pods })
  return { router, pod: engines[0], client: router.client }
}

forEachEngine(engine => {
  test(`${engine}: the openai client's chat, stream with usage, and tools`, async t => {
    const { client } = await oneEngine(t, engine)
    const request = { model: 'tiny', messages: [user('hello')] }
    const { data: whole, response } = await client.chat.completions.create(request).withResponse()
    t.is(response.headers.get('x-phyllo-pod'), 'a')
    t.truthy(response.headers.get('x-request-id'))
    t.truthy(whole.choices[0]?.message.content)

    const stream = client.chat.completions.stream({ ...request, stream_options: { include_usage: true } })
    const streamed = await stream.finalChatCompletion()
    t.is(streamed.choices[0]?.message.content, whole.choices[0]?.message.content)
    t.is(streamed.usage?.prompt_tokens, whole.usage?.prompt_tokens)

    const called = await client.chat.completions.create({
      ...request,
      tools: [weather],
      tool_choice: 'required',
    })
    const call = called.choices[0]?.message.tool_calls?.[0]
    t.true(call?.type === 'function' && call.function.name === 'weather')
    const calling = client.chat.completions.stream({ ...request, tools: [weather], tool_choice: 'required' })
    t.is((await calling.finalChatCompletion()).choices[0]?.message.tool_calls?.length, 1)
  })

  test(`${engine}: the openai client's completions, embeddings and Anthropic's messages`, async t => {
    const { client, router } = await oneEngine(t, engine)
    const completion = await client.completions.create({ model: 'tiny', prompt: ['a', 'b'], max_tokens: 5 })
    t.is(completion.choices.length, 2)
    const [a, again] = (await client.embeddings.create({ model: 'tiny', input: ['a', 'a'] })).data
    t.deepEqual(a?.embedding, again?.embedding)
    const body = JSON.stringify({ model: 'tiny', max_tokens: 5, system: 'be brief', messages: [user('hi')] })
    const message = await post(router, body, {}, '/v1/messages')
    t.is(message.status, 200)
    t.is(message.headers.get('x-phyllo-pod'), 'a')
    t.is(at(await message.json(), 'type'), 'message')
  })

  test(`${engine}: a response is fetched from, and continued on, the pod that has its state`, async t => {
    const { pods } = await enginesFor(t, 3)
    const { client, admin } = await routerFor(t, engine, { pods, defaults: { profile: 'round-robin' } })
    const served = async (promise: {
      withResponse(): Promise<{ data: OpenAI.Responses.Response; response: Response }>
    }) => {
      const { data, response } = await promise.withResponse()
      return { id: data.id, pod: response.headers.get('x-phyllo-pod') }
    }
    const made: { id: string; pod: string | null }[] = []
    for (let i = 0; i < 6; i++) {
      made.push(await served(client.responses.create({ model: 'tiny', input: `leaf ${i}` })))
    }
    t.is(new Set(made.map(({ pod }) => pod)).size, 3, 'they are spread, or the rest proves nothing')
    // A streamed answer carries its id in its first event.
    const stream = client.responses.stream({ model: 'tiny', input: 'stream' })
    const streamed = await stream.finalResponse()
    t.is((await client.responses.retrieve(streamed.id)).id, streamed.id)
    for (const { id, pod } of made) {
      t.deepEqual(await served(client.responses.retrieve(id)), { id, pod })
      const next = { model: 'tiny', input: 'and now?', previous_response_id: id }
      const continued = await served(client.responses.create(next))
      t.is(continued.pod, pod)
      t.is((await served(client.responses.create({ ...next, previous_response_id: continued.id }))).pod, pod)
    }
    const unknown = await t.throwsAsync(client.responses.retrieve('resp_unknown'), {
      instanceOf: OpenAI.NotFoundError,
    })
    t.is(unknown?.code, 'response_not_found')
    await t.throwsAsync(
      client.responses.create({ model: 'tiny', input: 'x', previous_response_id: 'resp_unknown' }),
      { instanceOf: OpenAI.NotFoundError },
    )
    await admin('DELETE', `/pods/${made[0]?.pod ?? ''}`)
    await t.throwsAsync(client.responses.retrieve(made[0]?.id ?? ''), { instanceOf: OpenAI.NotFoundError })
    const kept = made[1]?.id ?? ''
    t.is((await client.responses.retrieve(kept)).id, kept)
  })

  test(`${engine}: models are merged over the pods, down or late ones too`, async t => {
    const a = await engineFor(t)
    const b = await engineFor(t, { model: 'other' })
    const late = await freePort()
    const pods = [
      { url: a.url, id: 'a' },
      { url: b.url, id: 'b' },
      { url: await deadOrigin(), id: 'down' },
      { url: `http://127.0.0.1:${late}`, id: 'late' },
    ]
    const models = [{ name: 'tiny', aliases: ['gpt-x'] }]
    const { client, pod, url } = await routerFor(t, engine, { pods, models })
    const ids = async () => (await client.models.list()).data.map(({ id }) => id)
    t.deepEqual(await ids(), ['other', 'tiny', 'gpt-x'])
    t.is((await client.models.retrieve('tiny')).owned_by, 'vllm', "the pod's own entry")
    t.is((await client.models.retrieve('gpt-x')).id, 'gpt-x')
    await t.throwsAsync(client.models.retrieve('missing'), { instanceOf: OpenAI.NotFoundError })
    // Once answered with Object's own function, which brought the handler down.
    await t.throwsAsync(client.models.retrieve('constructor'), { instanceOf: OpenAI.NotFoundError })
    await t.throwsAsync(client.models.retrieve('__proto__'), { instanceOf: OpenAI.NotFoundError })
    t.is((await fetch(`${url}/v1/models`)).headers.has('x-request-id'), true)

    const newcomer = await startEngine({ port: late, model: 'late-model', listen: 'node', speed: 500 })
    t.teardown(() => newcomer.close())
    await until(async () => (await ids()).includes('late-model'), 'the late pod is found')
    const answer = await client.chat.completions.create({ model: 'late-model', messages: [user('hello')] })
    t.truthy(answer.choices[0]?.message.content)
    await b.close()
    await until(async () => (await pod('b')).healthy === false, 'b is found out')
    t.true((await ids()).includes('other'), 'a model of a pod that is down stays listed')
    await t.throwsAsync(client.chat.completions.create({ model: 'other', messages: [user('x')] }), {
      instanceOf: OpenAI.InternalServerError,
      message: /503/,
    })
  })

  test(`${engine}: errors come as the client's own classes`, async t => {
    const { client } = await oneEngine(t, engine)
    const messages = [user('hello')]
    const missing = await t.throwsAsync(client.chat.completions.create({ model: 'missing', messages }), {
      instanceOf: OpenAI.NotFoundError,
    })
    t.is(missing?.code, 'model_not_found')
    t.is(missing?.param, 'model')
    const wrong: OpenAI.ChatCompletionCreateParamsNonStreaming = JSON.parse(
      '{"model":"tiny","messages":"hello"}',
    )
    const bad = await t.throwsAsync(client.chat.completions.create(wrong), {
      instanceOf: OpenAI.BadRequestError,
    })
    t.is(bad?.param, 'messages')
    // What only the engine can know comes back as it said it.
    const tooMany = client.chat.completions.create({ model: 'tiny', messages, max_tokens: 10_000_000 })
    await t.throwsAsync(tooMany, { instanceOf: OpenAI.BadRequestError, message: /maximum context length/ })
  })

  test(`${engine}: the client's bytes and headers reach the pod as they are; ids come back`, async t => {
    const pod = await rawPodFor(t, ({ socket }) =>
      socket.write(answerWith(200, chatAnswer, ['x-engine-extra: 7'])),
    )
    const router = await routerFor(t, engine, { pods: [{ url: pod.origin, id: 'raw' }] })
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
  })

  test(`${engine}: an alias reaches the pod under the model's own name, all else as it was`, async t => {
    const pod = await rawPodFor(t, ({ socket }) => socket.write(answerWith(200, chatAnswer)))
    const models = [{ name: 'tiny', aliases: ['a "quoted" alias', 'x'] }]
    const router = await routerFor(t, engine, { pods: [{ url: pod.origin }], models })
    const body = (model: string) =>
      `{"user":"u1", "model" : ${model} ,"messages":[{"role":"user","content":"model"}]}`
    for (const alias of ['"a \\"quoted\\" alias"', '"x"', '"\\u0078"', '"tiny"']) {
      t.is((await post(router, body(alias))).status, 200)
      t.is(pod.inference().at(-1)?.body.toString(), body('"tiny"'))
    }
  })

  test(`${engine}: only named paths pass, and control paths never do`, async t => {
    const open = [
      '/tokenize',
      '/version',
      '/sleep',
      '/v1/load_lora_adapter',
      '/%73leep',
      '//sleep',
      '/x/../sleep',
    ]
    const { engines, pods } = await enginesFor(t, 1)
    const router = await routerFor(t, engine, { pods, passthrough: open })
    const [pod] = engines
    const tokenize = await ask(router.port, {
      path: '/tokenize',
      body: '{"model":"tiny","prompt":"hello"}',
    })
    t.is(tokenize.status, 200)
    t.is(tokenize.headers['x-phyllo-pod'], 'a')
    t.is((await ask(router.port, { path: '/version' })).status, 200)
    const before = Object.keys(pod?.requests() ?? {})
    const closed = [
      ...[
        '/sleep',
        '/%73leep',
        '/%2573leep',
        '//sleep',
        '/x/../sleep',
        '/./sleep',
        '/SLEEP',
        '/sleep/',
        '/sleep;x',
      ],
      ...[
        '/sleep?level=1',
        '/v1/sleep',
        '/tokenize/../sleep',
        '/tokenize/',
        '/tokenize%2f..%2fsleep',
        '/detokenize',
      ],
      ...['/reset_prefix_cache', '/v1//chat/completions', '//v1/chat/completions', '/v1/%63hat/completions'],
      ...[
        '/v1/load_lora_adapter',
        '/v1/unload_lora_adapter',
        '/metrics',
        '/sim/stats',
        '/',
        '/v1',
        '/v1/models/',
      ],
      ...[
        '/v1/models/..%2f..%2fsleep',
        '/v1/responses/..%2f..%2fsleep',
        '/v1/responses/../../sleep',
        '/%ff',
        '/%',
      ],
      ...['/v1/responses/resp_1/../../../sleep', '/v1/chat/completions/../../../sleep', '/\\sleep'],
    ]
    for (const path of closed) {
      for (const method of ['GET', 'POST']) {
        const body = method === 'POST' ? { body: '{"level":1}' } : {}
        const answer = await ask(router.port, { method, path, ...body })
        t.true(answer.status === 404 || answer.status === 405 || answer.status === 400, `${method} ${path}`)
        t.truthy(errorOf(answer.body).code, path)
      }
    }
    t.deepEqual(Object.keys(pod?.requests() ?? {}), before, 'none of these reached the pod')
  })

  test(`${engine}: methods: GET and HEAD where they belong, 405 with what is allowed elsewhere`, async t => {
    const { engines, pods } = await enginesFor(t, 1)
    const { port } = await routerFor(t, engine, { pods, passthrough: ['/version'] })
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
      if (method !== 'HEAD') t.is(errorOf(answer.body).code, 'method_not_allowed')
    }
    // A named path takes any method: the pod judges. A HEAD answer must not be waited for.
    t.is((await ask(port, { method: 'HEAD', path: '/version' })).body, '')
    t.is((await ask(port, { method: 'DELETE', path: '/version' })).status, 404)
    t.is(engines[0]?.requests()['DELETE /version'], 1)
  })
})

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise(resolve => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
