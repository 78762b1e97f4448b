/** The admin port: health, pods that come, rest and go while requests run, explanations. */
import test from 'ava'
import { z } from 'zod'
import {
  answerWith,
  chunked,
  deadOrigin,
  lastChunk,
  type PodRequest,
  streamHead,
} from '../execution/kit-pods.js'
import {
  chatAnswer,
  chatBody,
  countBy,
  engineFor,
  fault,
  forEachEngine,
  join,
  nothingInFlight,
  podOf,
  post,
  rawPodFor,
  sharedRouter,
  until,
  user,
} from './router-kit.js'

const selection = z.object({
  candidates: z.array(z.string()),
  filters: z.array(z.object({ plugin: z.string(), dropped: z.array(z.string()) })),
  scores: z.array(z.object({ plugin: z.string(), raw: z.record(z.string(), z.number()) })),
  totals: z.record(z.string(), z.number()),
  cache: z
    .object({
      tokens: z.record(z.string(), z.number()),
      hints: z.record(z.string(), z.object({ mode: z.string(), predictedTokens: z.number() })),
    })
    .nullable(),
  ranking: z.array(z.string()),
  outcome: z.string(),
})
const explanation = z.object({
  profile: z.string(),
  prepare: z.object({ prompt: z.object({ tokens: z.number(), exact: z.boolean() }) }),
  selections: z.tuple([selection]),
})

forEachEngine(engine => {
  const shared = sharedRouter(engine, { defaults: { profile: 'round-robin' } })

  /** A pod whose streams run until they are told to end. */
  async function streamingPod(t: Parameters<typeof rawPodFor>[0]) {
    const streams: PodRequest[] = []
    const pod = await rawPodFor(t, request => {
      if (!request.body.includes('"stream":true')) return request.socket.write(answerWith(200, chatAnswer))
      streams.push(request)
      return request.socket.write(streamHead + chunked('data: {"choices":[]}\n\n'))
    })
    const end = () =>
      streams[0]?.socket.write(Buffer.concat([chunked('data: [DONE]\n\n'), Buffer.from(lastChunk)]))
    return { url: pod.origin, end }
  }

  test.serial(`${engine}: healthz and readyz`, async t => {
    const router = await shared()
    const ready = async () => (await router.admin('GET', '/readyz')).status
    t.is((await router.admin('GET', '/healthz')).status, 200)
    const none = await router.admin('GET', '/readyz')
    t.deepEqual([none.status, await none.json()], [503, { status: 'not ready', reason: 'no pod is ready' }])
    await join(t, router, { down: deadOrigin() })
    await until(async () => (await router.pod('down')).healthy === false, 'it is found out')
    t.is(await ready(), 503)
    const pod = await engineFor(t)
    await join(t, router, { a: pod.url })
    t.is(await ready(), 200)
    await router.admin('POST', '/pods/a/cordon')
    t.is(await ready(), 503)
    await router.admin('POST', '/pods/a/uncordon')
    t.is(await ready(), 200)
    await pod.close()
    await until(async () => (await ready()) === 503, 'its pod is down')
    t.is((await router.admin('GET', '/healthz')).status, 200, 'no reason to replace the router')
    t.is((await router.admin('HEAD', '/healthz')).status, 200)
  })

  test.serial(`${engine}: cordon: new requests go elsewhere, the running stream finishes`, async t => {
    const a = await streamingPod(t)
    const b = await engineFor(t)
    const router = await join(t, await shared(), { a: a.url })
    const stream = await post(router, chatBody({ stream: true }))
    t.is(stream.headers.get('x-phyllo-pod'), 'a')
    await join(t, router, { b: b.url })
    t.is((await router.admin('POST', '/pods/a/cordon')).status, 200)
    t.like(await router.pod('a'), { cordoned: true, state: 'cordoned', healthy: true, inflight: 1 })
    for (let i = 0; i < 6; i++) t.is(await podOf(router), 'b')
    a.end()
    t.regex(await stream.text(), /data: \[DONE\]\n\n$/)
    await until(async () => (await router.pod('a')).inflight === 0, 'the stream is over')
    t.is((await router.admin('POST', '/pods/a/uncordon')).status, 200)
    const served: string[] = []
    for (let i = 0; i < 6; i++) served.push(await podOf(router))
    t.deepEqual(countBy(served), { a: 3, b: 3 })
  })

  test.serial(`${engine}: delete: out of every decision at once, the running stream finishes`, async t => {
    const a = await streamingPod(t)
    const b = await engineFor(t)
    const router = await join(t, await shared(), { a: a.url })
    const stream = await post(router, chatBody({ stream: true }))
    await join(t, router, { b: b.url })
    const deleted = await router.admin('DELETE', '/pods/a')
    t.deepEqual([deleted.status, await deleted.json()], [200, { id: 'a', removed: true }])
    t.is((await router.admin('DELETE', '/pods/a')).status, 404)
    t.deepEqual(
      (await router.pods()).map(pod => pod.id),
      ['b'],
    )
    for (let i = 0; i < 6; i++) t.is(await podOf(router), 'b')
    // The name is free at once, though the old one's stream still runs.
    await join(t, router, { a: b.url })
    a.end()
    t.regex(await stream.text(), /data: \[DONE\]\n\n$/)
    t.is((await router.pod('a')).inflight, 0)
  })

  test.serial(`${engine}: pods that cannot be added, and answers that say why`, async t => {
    const router = await shared()
    const pod = await engineFor(t)
    const models = { models: ['tiny'], labels: { zone: 'x' } }
    const added = await router.admin('POST', '/pods', {
      url: `${pod.url}/base/`,
      id: 'odd/id %41',
      ...models,
    })
    t.is(added.status, 201)
    t.like(await added.json(), { id: 'odd/id %41', models: ['tiny'], labels: { zone: 'x' }, state: 'ready' })
    t.like(await router.pod('odd/id %41'), { id: 'odd/id %41' })
    t.is((await router.admin('DELETE', `/pods/${encodeURIComponent('odd/id %41')}`)).status, 200)
    await join(t, router, { a: pod.url })
    const cases: readonly (readonly [unknown, string, string | null])[] = [
      ['{', 'bad_json', null],
      [[], 'invalid_request', null],
      [{}, 'invalid_request', 'url'],
      [{ url: 5 }, 'invalid_request', 'url'],
      [{ url: 'nonsense' }, 'invalid_request', 'url'],
      [{ url: 'ftp://host' }, 'invalid_request', 'url'],
      [{ url: 'http://host/?x=1' }, 'invalid_request', 'url'],
      [{ url: pod.url, id: 'a' }, 'invalid_request', 'url'],
      [{ url: pod.url, id: 'a\nb' }, 'invalid_request', 'id'],
      [{ url: pod.url, id: '' }, 'invalid_request', 'id'],
      [{ url: pod.url, id: 'b', models: 'tiny' }, 'invalid_request', 'models'],
      [{ url: pod.url, id: 'b', unknown: 1 }, 'invalid_request', 'unknown'],
      [
        { url: pod.url, id: 'b', dataParallel: 2, kvEvents: 'ipc:///run/events' },
        'invalid_request',
        'kvEvents.endpoint',
      ],
      [
        { url: pod.url, id: 'b', kvEvents: { endpoint: 'tcp://h:5557', replay: 'tcp://h:5557' } },
        'invalid_request',
        'kvEvents',
      ],
    ]
    for (const [body, code, param] of cases) {
      const answer = await fault(await router.admin('POST', '/pods', body))
      t.deepEqual([answer.status, answer.code, answer.param], [400, code, param], JSON.stringify(body))
    }
    t.deepEqual(
      (await router.pods()).map(({ id }) => id),
      ['a'],
      'none stayed behind',
    )
    for (const [method, path, status] of [
      ['GET', '/pods/none', 404],
      ['POST', '/pods/none/cordon', 404],
      ['DELETE', '/pods/none', 404],
      ['GET', '/pods/%', 404],
      ['GET', '/nothing', 404],
      ['PUT', '/pods', 405],
      ['DELETE', '/pods', 405],
      ['GET', '/pods/a/cordon', 405],
    ] as const) {
      t.is((await fault(await router.admin(method, path))).status, status, `${method} ${path}`)
    }
    t.is(await podOf(router), 'a')
  })
})

// The decision is the same whatever HTTP server the workers run: explanations come from the main thread.
const shared = sharedRouter('node', { defaults: { profile: 'cache-aware' } })
const prompt = 'a leaf on a stem '.repeat(100)

test.serial('explain: the decision as the next request will have it, and nothing sent', async t => {
  const pods = await Promise.all(
    ['a', 'b', 'c'].map(async id => {
      const pod = await rawPodFor(t, ({ socket }) => socket.write(answerWith(200, chatAnswer)))
      return { id, pod }
    }),
  )
  const router = await join(
    t,
    await shared(),
    Object.fromEntries(pods.map(({ id, pod }) => [id, pod.origin])),
  )
  const body = chatBody({ messages: [user(prompt)] })
  const explain = async (query = '', headers = {}) =>
    explanation.parse(await (await router.admin('POST', `/explain${query}`, body, headers)).json())
  const sent = () => pods.map(({ pod }) => pod.inference().length)

  const cold = await explain()
  t.is(cold.profile, 'cache-aware')
  t.false(cold.prepare.prompt.exact)
  t.deepEqual(cold.selections[0].candidates, ['a', 'b', 'c'])
  t.deepEqual(cold.selections[0].cache?.tokens, { a: 0, b: 0, c: 0 })
  t.is(cold.selections[0].outcome, 'picked')
  t.deepEqual(sent(), [0, 0, 0])

  const home = await podOf(router, { messages: [user(prompt)] })
  await nothingInFlight(router)
  for (let i = 0; i < 3; i++) {
    const [warm] = (await explain()).selections
    t.is(warm.ranking[0], home)
    t.is(warm.ranking.length, 3)
    t.true((warm.cache?.tokens[home] ?? 0) > 0.9 * cold.prepare.prompt.tokens)
    const others = Object.entries(warm.totals).filter(([id]) => id !== home)
    t.is(others.length, 2)
    for (const [, total] of others)
      t.true((warm.totals[home] ?? Number.NaN) > total, 'the cached pod is ahead of an idle one')
    t.deepEqual(
      warm.scores.map(({ plugin }) => plugin),
      ['prefill-time'],
    )
  }
  t.is(await podOf(router, { messages: [user(prompt)] }), home)

  await router.admin('POST', `/pods/${home}/cordon`)
  const [rest] = (await explain()).selections
  t.deepEqual(rest.filters.find(({ plugin }) => plugin === 'healthy')?.dropped, [home])
  t.false(rest.ranking.includes(home))
  await router.admin('POST', `/pods/${home}/uncordon`)

  // Headers of the request count as the client's: a session goes where it was.
  const session = { 'x-session-id': 's1' }
  const [bySession] = (await explain('?profile=consistent-hash', session)).selections
  const [again] = (await explain('?profile=consistent-hash', session)).selections
  t.deepEqual(again.ranking, bySession.ranking)
  t.is((await explain('?profile=round-robin')).profile, 'round-robin')

  t.is(
    sent().reduce((sum, count) => sum + count, 0),
    2,
    'only the two that were no explanations',
  )
  await nothingInFlight(router)
})

test.serial('explain: what cannot be explained is an error as on the public port', async t => {
  const pod = await engineFor(t)
  const router = await join(t, await shared(), { a: pod.url })
  const body = { model: 'tiny', input: 'x' }
  const other = await router.admin('POST', '/explain?path=/v1/embeddings', body)
  t.is(other.status, 200)
  const cases = [
    ['', '{', 400, 'bad_json'],
    ['', body, 400, 'invalid_request'],
    ['', chatBody({ model: 'missing' }), 404, 'model_not_found'],
    ['?profile=nonsense', chatBody(), 400, 'invalid_request'],
    ['?path=/v1/models', chatBody(), 400, 'invalid_request'],
  ] as const
  for (const [query, sent, status, code] of cases) {
    const answer = await fault(await router.admin('POST', `/explain${query}`, sent))
    t.deepEqual([answer.status, answer.code], [status, code], `${query} ${JSON.stringify(sent)}`)
  }
  t.false(Object.keys(pod.requests()).some(route => route.startsWith('POST')))
})
