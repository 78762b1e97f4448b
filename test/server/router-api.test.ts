/** The public port as clients of OpenAI's API see it: the official client, on both HTTP servers. */
import test from 'ava'
import OpenAI from 'openai'
import { startEngine } from '#phyllo/simulation/engine/http.js'
import { deadOrigin } from '../execution/kit-pods.js'
import { freePort } from '../free-port.js'
import { at, eventNames } from '../simulation/kit.js'
import {
  engineFor,
  forEachEngine,
  join,
  joinEngines,
  post,
  sharedRouter,
  until,
  user,
  workerCounts,
} from './router-kit.js'

const weather = {
  type: 'function' as const,
  function: {
    name: 'weather',
    parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
  },
}

forEachEngine(engine => {
  // As many workers as it can have: what is said of one of them must hold over all.
  const shared = sharedRouter(engine, {
    listen: { workers: Math.max(...workerCounts(engine)) },
    defaults: { profile: 'round-robin' },
    models: [{ name: 'tiny', aliases: ['gpt-x'] }],
  })

  test.serial(`${engine}: the openai client's chat, stream with usage, and tools`, async t => {
    const { client } = await shared()
    await joinEngines(t, await shared(), 1)
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

  test.serial(`${engine}: the openai client's completions, embeddings and Anthropic's messages`, async t => {
    const router = await shared()
    const { client } = router
    await joinEngines(t, router, 1)
    const completion = await client.completions.create({ model: 'tiny', prompt: ['a', 'b'], max_tokens: 5 })
    t.is(completion.choices.length, 2)
    const pieces: string[] = []
    const stream = await client.completions.create({
      model: 'tiny',
      prompt: 'a',
      max_tokens: 5,
      stream: true,
    })
    for await (const chunk of stream) pieces.push(chunk.choices[0]?.text ?? '')
    t.is(pieces.join(''), completion.choices[0]?.text ?? '')
    const [a, again] = (await client.embeddings.create({ model: 'tiny', input: ['a', 'a'] })).data
    t.deepEqual(a?.embedding, again?.embedding)
    const body = { model: 'tiny', max_tokens: 5, system: 'be brief', messages: [user('hi')] }
    const message = await post(router, JSON.stringify(body), {}, '/v1/messages')
    t.is(message.status, 200)
    t.is(message.headers.get('x-phyllo-pod'), 'a')
    t.is(at(await message.json(), 'type'), 'message')
    const events = await post(router, JSON.stringify({ ...body, stream: true }), {}, '/v1/messages')
    const names = eventNames(await events.text())
    t.deepEqual([names[0], names.at(-1)], ['message_start', 'message_stop'])
  })

  test.serial(
    `${engine}: a response is fetched from, and continued on, the pod that has its state`,
    async t => {
      const router = await shared()
      await joinEngines(t, router, 3)
      const { admin } = router
      // A connection of its own for each request, so that each may come to another worker.
      const client = router.client.withOptions({ defaultHeaders: { connection: 'close' } })
      const served = async (promise: {
        withResponse(): Promise<{ data: OpenAI.Responses.Response; response: Response }>
      }) => {
        const { data, response } = await promise.withResponse()
        return { id: data.id ?? '', pod: response.headers.get('x-phyllo-pod') }
      }
      const made: { id: string; pod: string | null }[] = []
      for (let i = 0; i < 6; i++) {
        made.push(await served(client.responses.create({ model: 'tiny', input: `leaf ${i}` })))
      }
      t.is(new Set(made.map(({ pod }) => pod)).size, 3, 'they are spread, or the rest proves nothing')
      // A streamed answer carries its id in its first event.
      const stream = client.responses.stream({ model: 'tiny', input: 'stream' })
      const streamed = await stream.finalResponse()
      t.is((await client.responses.retrieve(streamed.id ?? '')).id, streamed.id)
      for (const { id, pod } of made) {
        t.deepEqual(await served(client.responses.retrieve(id)), { id, pod })
        const next = { model: 'tiny', input: 'and now?', previous_response_id: id }
        const continued = await served(client.responses.create(next))
        t.is(continued.pod, pod)
        t.is(
          (await served(client.responses.create({ ...next, previous_response_id: continued.id }))).pod,
          pod,
        )
      }
      const unknown = await t.throwsAsync(client.responses.retrieve('resp_unknown'), {
        instanceOf: OpenAI.NotFoundError,
      })
      t.is(unknown?.code, 'response_not_found')
      await t.throwsAsync(
        client.responses.create({ model: 'tiny', input: 'x', previous_response_id: 'resp_unknown' }),
        { instanceOf: OpenAI.NotFoundError },
      )
      const [gone, kept] = made
      await admin('DELETE', `/pods/${gone?.pod ?? ''}`)
      await t.throwsAsync(client.responses.retrieve(gone?.id ?? ''), { instanceOf: OpenAI.NotFoundError })
      t.is((await client.responses.retrieve(kept?.id ?? '')).id, kept?.id ?? '')
    },
  )

  test.serial(`${engine}: models are merged over the pods, down or late ones too`, async t => {
    const router = await shared()
    const { client, pod, url } = router
    const a = await engineFor(t)
    const b = await engineFor(t, { model: 'other' })
    const late = await freePort()
    await join(t, router, {
      a: a.url,
      b: b.url,
      down: deadOrigin(),
      late: `http://127.0.0.1:${late}`,
    })
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

  test.serial(`${engine}: errors come as the client's own classes`, async t => {
    const { client } = await shared()
    await joinEngines(t, await shared(), 1)
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
})
