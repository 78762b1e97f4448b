/** KV events through the whole router: configured, followed, shown on the admin port and in the metrics. */
import test from 'ava'
import { z } from 'zod'
import { BLOCK_SIZE, conversation, Engine } from '../data/kv-events/engine.js'
import { publisher } from '../data/kv-events/router-kit.js'
import { answerWith, startPod } from '../execution/kit-pods.js'
import { freePort, freePorts } from '../free-port.js'
import { rawPodFor, routerFor, type TestRouter, until } from './router-kit.js'

const cacheRow = z.looseObject({
  id: z.string(),
  mode: z.string(),
  blocks: z.number(),
  blockSize: z.number().nullable(),
  sequence: z.number().nullable(),
  lagMs: z.number().nullable(),
  endpoint: z.string().nullable(),
  replay: z.string().nullable(),
  gaps: z.number(),
})
type CacheRow = z.infer<typeof cacheRow>

async function cacheOf(router: TestRouter, id: string): Promise<CacheRow> {
  return cacheRow.parse(await (await router.admin('GET', `/pods/${id}/cache`)).json())
}

/** Waits until the pod's cache is as wanted. */
async function cacheIs(
  router: TestRouter,
  id: string,
  isIt: (cache: CacheRow) => boolean,
): Promise<CacheRow> {
  let cache = await cacheOf(router, id)
  const becomes = async () => {
    cache = await cacheOf(router, id)
    return isIt(cache)
  }
  await until(becomes, 'the cache is as wanted').catch(error => {
    throw new Error(JSON.stringify(cache), { cause: error })
  })
  return cache
}

async function metric(router: TestRouter, series: string): Promise<number | undefined> {
  const page = await (await router.admin('GET', '/metrics')).text()
  const line = page.split('\n').find(each => each.startsWith(`${series} `))
  return line === undefined ? undefined : Number(line.slice(series.length + 1))
}

test.serial(
  'a pod with events is followed from its first model list on; one without is predicted',
  async t => {
    const pod = await rawPodFor(t, () => {})
    const plain = await rawPodFor(t, () => {})
    const engine = new Engine(await publisher(t, { replay: 'topic' }))
    engine.storeUnheard(0, 0, 8)
    const { endpoint, replayEndpoint: replay } = engine.publisher
    const router = await routerFor(t, 'node', {
      pods: [
        { url: pod.origin, id: 'a', kvEvents: { endpoint, replay } },
        { url: plain.origin, id: 'b' },
      ],
    })
    await engine.publisher.subscribed()
    engine.storeUnheard(1, 0, 4)
    engine.store(2, 0, 4)
    const cache = await cacheIs(router, 'a', ({ blocks, mode }) => blocks === 16 && mode === 'exact')
    t.like(cache, { id: 'a', mode: 'exact', blockSize: 16, sequence: 2, endpoint, replay, lostBatches: 0 })
    t.true((cache.lagMs ?? -1) >= 0)
    t.like(await cacheOf(router, 'b'), {
      mode: 'predicted',
      blocks: 0,
      sequence: null,
      lagMs: null,
      endpoint: null,
    })

    t.is(await metric(router, 'phyllo_pod_cache_mode{pod="a"}'), 2)
    t.is(await metric(router, 'phyllo_pod_cache_mode{pod="b"}'), 0)
    t.is(await metric(router, 'phyllo_exact_pods_ratio'), 0.5)
    t.is(await metric(router, 'phyllo_pod_blocks{pod="a",tier="gpu"}'), 16)
    t.is(await metric(router, 'phyllo_kv_events_total{pod="a"}'), 16)
    t.is(await metric(router, 'phyllo_kv_events_total{pod="b"}'), undefined)
    t.is(await metric(router, 'phyllo_kv_event_gaps_total{pod="a"}'), cache.gaps)
    t.is(await metric(router, 'phyllo_kv_event_lost_batches_total{pod="a"}'), 0)
    t.true(((await metric(router, 'phyllo_kv_event_lag_seconds{pod="a"}')) ?? -1) >= 0)

    t.is((await router.admin('GET', '/pods/c/cache')).status, 404)
    await router.admin('DELETE', '/pods/a')
    await engine.publisher.unsubscribed()
  },
)

const explained = z.object({
  selections: z.tuple([z.object({ cache: z.object({ tokens: z.record(z.string(), z.number()) }) })]),
})

test.serial('an engine’s blocks are found by each name that it serves its model under', async t => {
  const names = ['first', 'second'].map(id => ({ id, object: 'model', root: '/models/m', parent: null }))
  const list = JSON.stringify({ object: 'list', data: names })
  const pod = await startPod(t, ({ socket }) => void socket.write(answerWith(200, list)))
  const engine = new Engine(await publisher(t))
  const { endpoint } = engine.publisher
  const router = await routerFor(t, 'node', {
    pods: [{ url: pod.origin, id: 'a', kvEvents: endpoint }],
  })
  await engine.publisher.subscribed()
  engine.store(0, 0, 8)
  await cacheIs(router, 'a', ({ blocks }) => blocks === 8)
  const prompt = [...conversation(0, 9)]
  for (const { id: model } of names) {
    const answer = await router.admin('POST', '/explain?path=/v1/completions', { model, prompt })
    const { tokens } = explained.parse(await answer.json()).selections[0].cache
    t.deepEqual(tokens, { a: 8 * BLOCK_SIZE }, model)
  }
})

test.serial('ranks of an engine publish at ports of their own, and are shown by its name', async t => {
  const pod = await rawPodFor(t, () => {})
  const first = await freePorts(2)
  const ranks = await Promise.all(
    [0, 1].map(async rank => {
      return new Engine(await publisher(t, { endpoint: `tcp://127.0.0.1:${first + rank}`, rank }))
    }),
  )
  const router = await routerFor(t, 'node', {
    pods: [{ url: pod.origin, id: 'e', dataParallel: 2, kvEvents: `tcp://127.0.0.1:${first}` }],
  })
  for (const [rank, engine] of ranks.entries()) {
    await engine.publisher.subscribed()
    engine.store(rank, 0, 4 + rank)
    await cacheIs(router, `e-dp${rank}`, ({ mode, blocks }) => mode === 'exact' && blocks === 4 + rank)
  }
  const both = await (await router.admin('GET', '/pods/e/cache')).json()
  t.like(both, {
    id: 'e',
    pods: [
      { id: 'e-dp0', blocks: 4 },
      { id: 'e-dp1', blocks: 5 },
    ],
  })
})

test.serial('engines that dial in are told apart by topics, with an @ in the model’s name', async t => {
  const pods = [await rawPodFor(t, () => {}), await rawPodFor(t, () => {})]
  const bind = `tcp://127.0.0.1:${await freePort()}`
  const router = await routerFor(t, 'node', {
    kvEvents: { bind: [bind], firstSequence: 1 },
    pods: pods.map(({ origin }, i) => ({ url: origin, id: `p${i}` })),
  })
  for (const [i, { origin }] of pods.entries()) {
    // One by its address, one by its id.
    const topic = `kv@${i === 0 ? new URL(origin).host : 'p1'}@meta/llama@2026`
    const engine = new Engine(await publisher(t, { endpoint: bind, dial: true, topic, first: 1 }))
    await engine.publisher.subscribed()
    engine.store(i, 0, 3 + i)
    const cache = await cacheIs(router, `p${i}`, ({ mode, blocks }) => mode === 'exact' && blocks === 3 + i)
    t.like(cache, { sequence: 1, endpoint: 'dials in' })
  }
  const stranger = new Engine(await publisher(t, { endpoint: bind, dial: true, topic: 'kv@nobody@m' }))
  await stranger.publisher.subscribed()
  stranger.store(0, 0, 1)
  await until(
    async () => (await metric(router, 'phyllo_kv_event_strays_total{reason="topic"}')) === 1,
    'the stranger is counted',
  )
  t.is(await metric(router, 'phyllo_kv_event_strays_total{reason="form"}'), 0)
})
