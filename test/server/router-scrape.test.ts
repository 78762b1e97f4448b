/** The router before simulated engines, whose metrics are vLLM's: what it reads there, shows and does with it. */
import test from 'ava'
import { z } from 'zod'
import { answerWith } from '../execution/kit-pods.js'
import { enginesFor, podOf, rawPodFor, routerFor, until } from './router-kit.js'

const metrics = z.looseObject({
  engine: z.string().nullable(),
  running: z.number().optional(),
  waiting: z.number().optional(),
  kvUse: z.number().optional(),
  blockSize: z.number().optional(),
  blocks: z.number().optional(),
  ageMs: z.number().nullable(),
  failures: z.number(),
  fault: z.string().nullable(),
})
const cache = z.looseObject({ blockSize: z.number(), capacity: z.number() })

const scrape = { intervalMs: 100, fastMs: 50 }

test('block size, room and load come from the engines’ own metrics', async t => {
  const { engines, pods } = await enginesFor(t, 2, { blockSize: 48, blocks: 77, speed: 1 })
  const router = await routerFor(t, 'node', { pods, scrape })
  const metricsOf = async (id: string) => metrics.parse((await router.pod(id))['metrics'])
  await until(async () => (await metricsOf('b')).engine === 'vllm', 'metrics were read')
  t.like(await metricsOf('b'), { running: 0, waiting: 0, kvUse: 0, blockSize: 48, blocks: 77, fault: null })
  const shown = cache.parse(await (await router.admin('GET', '/pods/b/cache')).json())
  t.like(shown, { blockSize: 48, capacity: 77 })

  // Requests that are sent past the router are seen, and the next ones go to the other engine. Three, since a look at the
  // other one that takes as long as a whole request finds it there and not booked, and takes it for somebody else's.
  const direct = new AbortController()
  const aside = () =>
    fetch(`${engines[1]?.url}/v1/chat/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        model: 'tiny',
        messages: [{ role: 'user', content: 'hello' }],
        max_tokens: 1000,
        ignore_eos: true,
        stream: true,
      }),
      signal: direct.signal,
    })
  t.teardown(() => direct.abort())
  for (let i = 0; i < 3; i++) await (await aside()).body?.getReader().read()
  await until(async () => (await metricsOf('b')).running === 3, 'the direct requests were seen')
  const picked = new Set<string>()
  for (let i = 0; i < 6; i++) picked.add(await podOf(router))
  t.deepEqual([...picked], ['a'])

  const page = await (await router.admin('GET', '/metrics')).text()
  t.regex(page, /^phyllo_pod_engine_running\{pod="a"\} \d$/m)
  t.regex(page, /^phyllo_pod_engine_running\{pod="b"\} 3$/m)
  t.regex(page, /^phyllo_pod_engine_waiting\{pod="b"\} 0$/m)
  t.regex(page, /^phyllo_pod_kv_use\{pod="b"\} 0\.\d+$/m)
  t.regex(page, /^phyllo_pod_scrape_age_seconds\{pod="b"\} [\d.e-]+$/m)
  t.regex(page, /^phyllo_pod_scrape_failures_total\{pod="b"\} 0$/m)
})

test('a pod without metrics serves all the same, and is shown to have none', async t => {
  const pod = await rawPodFor(t, ({ socket }) => socket.write(answerWith(404, 'no')))
  const router = await routerFor(t, 'node', { pods: [{ id: 'raw', url: pod.origin }], scrape })
  const metricsOf = async () => metrics.parse((await router.pod('raw'))['metrics'])
  await until(async () => (await metricsOf()).failures > 1, 'it was looked at')
  t.like(await metricsOf(), { engine: null, ageMs: null, fault: 'answers 404' })
  t.like(await router.pod('raw'), { healthy: true })
  // First where it is configured to be, then where trtllm-serve has it.
  const paths = pod.requests.map(({ head }) => head.split(' ')[1]).filter(path => path?.endsWith('metrics'))
  t.deepEqual(paths.slice(0, 2), ['/metrics', '/prometheus/metrics'])
})

test('scraping can be switched off', async t => {
  const pod = await rawPodFor(t, ({ socket }) => socket.write(answerWith(404, 'no')))
  const router = await routerFor(t, 'node', {
    pods: [{ id: 'raw', url: pod.origin }],
    scrape: { intervalMs: 0 },
  })
  t.is((await router.pod('raw'))['metrics'], null)
  t.is(pod.inference().length, 0)
})

test('adapters that an engine runs are shown, and requests for them go there', async t => {
  const { engines, pods } = await enginesFor(t, 3, { speed: 1, maxLoras: 2 })
  const plugins = { filter: ['healthy'], score: ['lora-affinity'], pick: 'max-score', execute: 'single' }
  const url = engines[1]?.url
  const headers = { 'content-type': 'application/json' }
  const load = { method: 'POST', headers, body: '{"lora_name":"sql"}' }
  for (const engine of engines) await fetch(`${engine.url}/v1/load_lora_adapter`, load)
  const router = await routerFor(t, 'node', {
    pods,
    scrape,
    profiles: { lora: plugins },
    defaults: { profile: 'lora' },
  })
  // Past the router, which has sent nobody anything: what it knows is the engine's word.
  const body = JSON.stringify({ model: 'sql', prompt: 'hello', max_tokens: 1 })
  await (await fetch(`${url}/v1/completions`, { method: 'POST', headers, body })).text()
  const adaptersOf = async (id: string) => metrics.parse((await router.pod(id))['metrics'])['adapters']
  const told = JSON.stringify({ max: 2, running: ['sql'], waiting: [] })
  await until(async () => JSON.stringify(await adaptersOf('b')) === told, 'the gauge was read')
  t.is(await adaptersOf('a'), undefined)
  const messages = [{ role: 'user', content: 'hello' }]
  const explained = await router.admin('POST', '/explain', { model: 'sql', messages })
  const text = await explained.text()
  t.is(explained.status, 200, text)
  t.regex(text, /"standing":\s*"active"/)
  t.regex(text, /"standing":\s*"untold"/)
  t.regex(text, /"raw":\s*\{\s*"a":\s*0.8,\s*"b":\s*1,\s*"c":\s*0.8/)
})
