/** What the router reads in answers, before simulated engines that count and cache as real ones do. */
import test from 'ava'
import { z } from 'zod'
import type { ConfigInput } from '#phyllo/config/schema.js'
import {
  chatBody,
  countBy,
  engineFor,
  modelDir,
  post,
  rawPodFor,
  routerFor,
  type TestRouter,
  until,
  user,
} from './router-kit.js'

const usage = z.object({
  prompt_tokens: z.number(),
  prompt_tokens_details: z.object({ cached_tokens: z.number() }).nullish(),
})
const chat = z.object({ choices: z.array(z.object({ message: z.object({ content: z.string() }) })), usage })
const completion = z.object({ choices: z.array(z.object({ text: z.string() })), usage })

const models: ConfigInput['models'] = [{ name: 'tiny', dir: modelDir }]
const essay = (topic: string) => `${topic}: a leaf on a stem, and another one above it. `.repeat(12)

async function counters(router: TestRouter): Promise<(series: string) => number> {
  const page = await (await router.admin('GET', '/metrics')).text()
  return series => {
    const line = page.split('\n').find(text => text.startsWith(`${series} `))
    if (line === undefined) throw new Error(`no series ${series}`)
    return Number(line.slice(series.length))
  }
}

const explanation = z.object({
  prepare: z.object({ prompt: z.object({ tokens: z.number(), exact: z.boolean() }) }),
  selections: z.tuple([
    z.object({
      cache: z.object({
        tokens: z.record(z.string(), z.number()),
        hints: z.record(z.string(), z.object({ mode: z.string(), predictedTokens: z.number() })),
      }),
    }),
  ]),
})

async function explain(router: TestRouter, body: string) {
  const { prepare, selections } = explanation.parse(
    await (await router.admin('POST', '/explain', body)).json(),
  )
  return { prompt: prepare.prompt, cache: selections[0].cache }
}

test('the engine’s counts agree, as JSON and as events, and cached tokens are what was predicted', async t => {
  const pod = await engineFor(t, { modelDir })
  const router = await routerFor(t, 'node', { pods: [{ url: pod.url, id: 'a' }], models })
  const bodies = ['ferns', 'mosses', 'ferns'].map(topic => chatBody({ messages: [user(essay(topic))] }))
  let actual = 0
  for (const body of bodies) {
    const { usage } = chat.parse(await (await post(router, body)).json())
    actual += usage.prompt_tokens_details?.cached_tokens ?? 0
    t.is(usage.prompt_tokens, (await explain(router, body)).prompt.tokens)
  }
  t.true(actual > 0)
  const streamed = chatBody({
    messages: [user(essay('ivy'))],
    stream: true,
    stream_options: { include_usage: true },
  })
  t.regex(await (await post(router, streamed)).text(), /"usage":\{"prompt_tokens":\d+/)
  const silent = chatBody({ messages: [user(essay('oaks'))], stream: true })
  t.notRegex(await (await post(router, silent)).text(), /"prompt_tokens"/)
  const text = JSON.stringify({ model: 'tiny', prompt: essay('palms'), max_tokens: 4 })
  t.is((await post(router, text, {}, '/v1/completions')).status, 200)

  const agrees = async () => (await counters(router))('phyllo_prompt_count_checks_total{result="agrees"}')
  await until(async () => (await agrees()) === 5, 'all five are compared')
  const value = await counters(router)
  for (const result of ['differs', 'distrusted', 'estimated']) {
    t.is(value(`phyllo_prompt_count_checks_total{result="${result}"}`), 0)
  }
  t.is(value('phyllo_cached_tokens_actual_total{mode="predicted"}'), actual)
  const predicted = value('phyllo_cached_tokens_predicted_total{mode="predicted"}')
  t.true(Math.abs(predicted - actual) <= 16, `${predicted} predicted, ${actual} actual: a block at most`)
  t.is(value('phyllo_cached_tokens_predicted_total{mode="exact"}'), 0)
  t.is(value('phyllo_prompt_tokens_expected_cached_total'), predicted, 'the same figure at the decision')
})

test('a template that is not the engine’s: said, counted, and matched as text from then on', async t => {
  const pod = await engineFor(t, { modelDir })
  const chatTemplate = '{% for message in messages %}{{ message.content }} and more of it{% endfor %}'
  const router = await routerFor(t, 'node', {
    pods: [{ url: pod.url, id: 'a' }],
    models: [{ name: 'tiny', dir: modelDir, chatTemplate }],
  })
  const body = chatBody({ messages: [user(essay('ferns'))] })
  /** Sends the request, waits until its count was compared, and gives all results so far. */
  const checksAfter = async (requests: number) => {
    t.is((await post(router, body)).status, 200)
    const checks = { agrees: 0, differs: 0, distrusted: 0, estimated: 0 }
    await until(async () => {
      const value = await counters(router)
      const of = (result: string) => value(`phyllo_prompt_count_checks_total{result="${result}"}`)
      checks.agrees = of('agrees')
      checks.differs = of('differs')
      checks.distrusted = of('distrusted')
      checks.estimated = of('estimated')
      return checks.agrees + checks.differs + checks.distrusted + checks.estimated === requests
    }, `${requests} are compared`)
    return checks
  }
  t.true((await explain(router, body)).prompt.exact)
  let requests = 0
  let checks = await checksAfter(++requests)
  while (checks.distrusted === 0) {
    t.true(requests < 20, 'it is found out soon')
    checks = await checksAfter(++requests)
  }
  t.true(requests > 1, 'one difference is not enough')
  t.false((await explain(router, body)).prompt.exact)
  t.deepEqual(await checksAfter(requests + 1), {
    agrees: 0,
    differs: requests - 1,
    distrusted: 1,
    estimated: 1,
  })
})

for (const stream of [false, true]) {
  test(`the next turn finds the answer of this one in a predicted pod's cache (stream: ${stream})`, async t => {
    const pod = await engineFor(t, { modelDir })
    const router = await routerFor(t, 'node', { pods: [{ url: pod.url, id: 'a' }], models })
    const question = user(essay('ferns'))
    const first = chatBody({ messages: [question], max_tokens: 200, min_tokens: 200, stream })
    const answered = await (await post(router, first)).text()
    const content = stream
      ? [...answered.matchAll(/^data: (\{.*\})$/gm)]
          .map(([, json]) =>
            z
              .object({ choices: z.array(z.object({ delta: z.object({ content: z.string().nullish() }) })) })
              .parse(JSON.parse(json ?? '')),
          )
          .map(({ choices }) => choices[0]?.delta.content ?? '')
          .join('')
      : (chat.parse(JSON.parse(answered)).choices[0]?.message.content ?? '')
    t.true(content.length > 100)
    const learned = async () => (await counters(router))('phyllo_learned_answers_total{result="whole"}')
    await until(async () => (await learned()) === 1, 'the answer is learned')

    const next = chatBody({
      messages: [question, { role: 'assistant', content }, user('And ivy?')],
      max_tokens: 4,
    })
    const before = await explain(router, first)
    const { prompt, cache } = await explain(router, next)
    const { usage } = chat.parse(await (await post(router, next)).json())
    const predicted = cache.hints['a']?.predictedTokens ?? 0
    t.log(
      `first prompt ${before.prompt.tokens}, next ${prompt.tokens}, predicted ${predicted}, cached`,
      usage,
    )
    t.true(predicted > before.prompt.tokens + 100, 'the answer’s blocks are among them')
    t.is(usage.prompt_tokens_details?.cached_tokens, predicted)
  })
}

test('prompts sent as ids get the answers that texts get, and the counts are still compared', async t => {
  const engine = await engineFor(t, { modelDir })
  const asText = await routerFor(t, 'node', { pods: [{ url: engine.url, id: 'a' }], models })
  const asIds = await routerFor(t, 'node', {
    pods: [{ url: engine.url, id: 'a' }],
    models: [{ name: 'tiny', dir: modelDir, forwardTokens: true }],
  })
  const prompts = ['a leaf', 'Blätter 中文 🌿', ' \n spaces', essay('ferns'), '"quoted" \\ and {braces}']
  for (const prompt of prompts) {
    const body = JSON.stringify({ model: 'tiny', prompt, max_tokens: 12, seed: 1 })
    const [text, ids] = await Promise.all(
      [asText, asIds].map(async router =>
        completion.parse(await (await post(router, body, {}, '/v1/completions')).json()),
      ),
    )
    t.deepEqual(ids?.choices, text?.choices, prompt)
    t.is(ids?.usage.prompt_tokens, text?.usage.prompt_tokens)
  }
  const value = await counters(asIds)
  t.is(value('phyllo_prompt_count_checks_total{result="agrees"}'), 1, 'only the first went as text')
})

test('chats with their ids beside the messages are answered as those without', async t => {
  const engine = await engineFor(t, { modelDir })
  const router = async (forwardTokens: boolean | 'prompt_tokens') =>
    await routerFor(t, 'node', {
      pods: [{ url: engine.url, id: 'a' }],
      models: [{ name: 'tiny', dir: modelDir, forwardTokens }],
    })
  const [asText, asIds] = [await router(true), await router('prompt_tokens')]
  const bodies = ['a leaf', 'Blätter 中文 🌿', essay('ferns'), '"quoted" \\ and {braces}'].map(content =>
    chatBody({ messages: [user(content)], max_tokens: 12, seed: 1 }),
  )
  for (const body of bodies) {
    const [text, ids] = await Promise.all(
      [asText, asIds].map(async each => chat.parse(await (await post(each, body)).json())),
    )
    t.deepEqual(ids?.choices, text?.choices, body)
    t.is(ids?.usage.prompt_tokens, text?.usage.prompt_tokens)
  }
  // Of those that go as ids the count proves nothing: only the first was checked, of the others all.
  const checks = 'phyllo_prompt_count_checks_total{result="agrees"}'
  await until(async () => (await counters(asText))(checks) === bodies.length, 'all texts are checked')
  t.is((await counters(asIds))(checks), 1)
})

test('what a pod is sent of a chat: ids before its own fields, which stay as they came', async t => {
  const answer = JSON.stringify({ choices: [{ message: { content: 'leaf' } }] })
  const pod = await rawPodFor(t, ({ socket }) =>
    socket.write(
      `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${answer.length}\r\n\r\n${answer}`,
    ),
  )
  const router = await routerFor(t, 'node', {
    pods: [{ url: pod.origin, id: 'a' }],
    models: [{ name: 'tiny', dir: modelDir, forwardTokens: 'prompt_tokens', aliases: ['nick'] }],
  })
  const sent = async (body: string) => {
    t.is((await post(router, body)).status, 200)
    return pod.inference().at(-1)?.body.toString() ?? ''
  }
  const chatOf = (content: unknown, rest = '') =>
    `"messages":${JSON.stringify([{ role: 'user', content }])}, "seed" : 7${rest}}`
  const first = `{"model":"tiny",${chatOf('a leaf')}`
  t.is(await sent(first), first, 'the first lets the engine count')
  const named = await sent(` {"model":"nick",${chatOf('a leaf on a stem')}`)
  t.regex(named, /^\{"prompt_tokens":\[\d+(?:,\d+)+\],"model":"tiny","messages":/)
  t.true(named.endsWith(`,"model":"tiny",${chatOf('a leaf on a stem')}`))
  const own = `{"model":"tiny",${chatOf('a leaf', ',"prompt_tokens":[1,2,3]')}`
  t.is(await sent(own), own, 'whoever brings ids knows why')
  const image = [{ type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } }]
  const seen = `{"model":"tiny",${chatOf(image)}`
  t.is(await sent(seen), seen, 'what an image becomes only the engine knows')
})

test('what a pod is sent: ids where the model’s configuration says so, and texts to everything else', async t => {
  const answer = JSON.stringify({ choices: [{ text: 'leaf' }], usage: { prompt_tokens: 2 } })
  const pod = await rawPodFor(t, ({ socket }) =>
    socket.write(
      `HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ${answer.length}\r\n\r\n${answer}`,
    ),
  )
  const router = await routerFor(t, 'node', {
    pods: [{ url: pod.origin, id: 'a' }],
    models: [{ name: 'tiny', dir: modelDir, forwardTokens: true, aliases: ['nick'] }],
  })
  const send = async (fields: object) => {
    const body = JSON.stringify({ model: 'nick', ...fields })
    t.is((await post(router, body, {}, '/v1/completions')).status, 200)
    return pod.inference().at(-1)?.body.toString() ?? ''
  }
  await send({ prompt: 'the first' })
  const ids = /^\{"model":"tiny","prompt":\[\d+(?:,\d+)+\],"seed":7\}$/
  t.regex(await send({ prompt: 'a leaf on a stem', seed: 7 }), ids)
  t.is(await send({ prompt: 'a leaf', echo: true }), '{"model":"tiny","prompt":"a leaf","echo":true}')
  t.is(await send({ prompt: [5, 6, 7] }), '{"model":"tiny","prompt":[5,6,7]}')
  t.deepEqual(countBy(pod.inference().map(({ head }) => head.split(' ')[1] ?? '')), { '/v1/completions': 4 })
})
