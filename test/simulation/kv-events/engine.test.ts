/** `phyllo engine` with KV events on: options, data-parallel ranks, resets, as seen from outside. */
import test, { type ExecutionContext } from 'ava'
import { Subscriber } from 'zeromq'
import type { RunningEngine } from '#phyllo/simulation/engine/http.js'
import type { EventBatch } from '#phyllo/simulation/engine/kv-events/encoder.js'
import { at, engineFor, post, until } from '../kit.js'
import { decodeBatch } from './frames.js'

const ANY = 'tcp://127.0.0.1:*'

/** All batches of a rank from now on; resolves once the subscription stands, and nothing more comes of what was before. */
async function listen(t: ExecutionContext, engine: RunningEngine, rank = 0): Promise<EventBatch[]> {
  const socket = new Subscriber({ linger: 0 })
  t.teardown(() => socket.close())
  const batches: EventBatch[] = []
  socket.connect(engine.kvEvents[rank]?.endpoint ?? '')
  socket.subscribe('')
  void (async () => {
    for await (const [, , payload] of socket) batches.push(decodeBatch(payload ?? Buffer.alloc(0)))
  })()
  // No publisher tells when it has heard of a subscriber: ask for prompts until one's events come through.
  for (let i = 0; batches.length === 0; i++) {
    await complete(engine, `warm-up ${i} ${'x'.repeat(200)}`, rank)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  // Events of other prompts may still be under way: they come before this one's, which has blocks as none of them has.
  const before = Math.max(...batches.map(tokensOf))
  await complete(engine, `last ${'x'.repeat(400)}`, rank)
  await until(() => tokensOf(batches.at(-1)) > before)
  return batches
}

/** Tokens of the blocks that a batch tells of first. */
function tokensOf(batch: EventBatch | undefined): number {
  const [event] = batch?.events ?? []
  return event?.type === 'BlockStored' ? event.tokenIds.length : 0
}

async function complete(
  engine: RunningEngine,
  prompt: string,
  rank?: number,
  salt?: string,
): Promise<unknown> {
  const headers = rank === undefined ? undefined : { 'x-data-parallel-rank': String(rank) }
  const body = { model: 'tiny', prompt, max_tokens: 4, ignore_eos: true, cache_salt: salt }
  const answer = await post(engine, '/v1/completions', body, headers)
  const json: unknown = await answer.json()
  return at(json, 'usage', 'prompt_tokens_details', 'cached_tokens')
}

const types = (batches: readonly EventBatch[]): string[] =>
  batches.flatMap(batch => batch.events.map(event => event.type))

test('blocks are told in the order of their sequence, a reset with the next step', async t => {
  const engine = await engineFor(t, { kvEvents: ANY })
  t.is(engine.kvEvents[0]?.replay, null)
  const batches = await listen(t, engine)
  batches.length = 0
  t.is(await complete(engine, 'y'.repeat(400)), 0)
  await until(() => batches.length > 0)
  const [stored] = batches[0]?.events ?? []
  t.like(stored, { type: 'BlockStored', parentBlockHash: null, blockSize: 16, medium: 'GPU', loraId: null })
  t.is(stored?.type === 'BlockStored' ? stored.blockHashes.length : 0, 6)
  t.is(stored?.type === 'BlockStored' ? stored.tokenIds.length : 0, 96)
  t.is(batches[0]?.rank, 0)
  t.true(Math.abs((batches[0]?.time ?? 0) * 1000 - Date.now()) < 60_000)
  t.is(await complete(engine, 'y'.repeat(400)), 96)
  // What a hit would tell comes before what the next prompt has to tell.
  t.is(await complete(engine, 'z'.repeat(400)), 0)
  await until(() => batches.length > 1)
  const [, next] = batches
  t.is(batches.length, 2, 'a hit tells nothing')
  t.notDeepEqual(next?.events, batches[0]?.events)
  batches.length = 0
  t.deepEqual(await (await post(engine, '/reset_prefix_cache', {})).json(), { success: true })
  t.is(await complete(engine, 'y'.repeat(400), undefined, 'tenant-1'), 0)
  await until(() => batches.length > 0)
  t.deepEqual(types(batches).slice(0, 2), ['AllBlocksCleared', 'BlockStored'])
  t.deepEqual(at(batches[0]?.events[1], 'extraKeys', 0), ['tenant-1'])
})

test('data-parallel ranks have caches, events and metrics of their own', async t => {
  const engine = await engineFor(t, { kvEvents: ANY, kvEventsReplay: ANY, dataParallel: 2 })
  t.is(new Set(engine.kvEvents.map(({ endpoint }) => endpoint)).size, 2)
  const first = await listen(t, engine, 0)
  const second = await listen(t, engine, 1)
  const before = first.length
  second.length = 0
  const prompt = 'z'.repeat(400)
  t.deepEqual(
    [await complete(engine, prompt, 1), await complete(engine, prompt, 1), await complete(engine, prompt, 0)],
    [0, 96, 0],
  )
  await until(() => second.length > 0 && first.length > before)
  t.deepEqual([first.at(-1)?.rank, second.at(-1)?.rank], [0, 1])
  const answer = await post(
    engine,
    '/v1/completions',
    { model: 'tiny', prompt },
    { 'x-data-parallel-rank': '2' },
  )
  t.is(answer.status, 400)
  t.regex(await answer.text(), /data_parallel_rank 2 is out of range \[0, 2\)/)
  const metrics = await (await fetch(`${engine.url}/metrics`)).text()
  for (const rank of [0, 1]) {
    t.true(metrics.includes(`vllm:num_requests_running{engine="${rank}",model_name="tiny"} 0.0`))
    t.regex(
      metrics,
      new RegExp(`vllm:cache_config_info\\{block_size="16",.*engine="${rank}".*num_gpu_blocks="2082"`),
    )
  }
  t.is(metrics.split('# TYPE vllm:num_requests_running').length, 2, 'each family is announced once')
})

test('without a header requests go where fewest are', async t => {
  // So slow that none is answered before the engine ends with the test.
  const engine = await engineFor(t, { dataParallel: 4, speed: 0.001 })
  for (let i = 0; i < 8; i++) complete(engine, `${i}`.repeat(40)).catch(() => undefined)
  await until(() => engine.stats().running + engine.stats().waiting === 8)
  const metrics = await (await fetch(`${engine.url}/metrics`)).text()
  const busy = [0, 1, 2, 3].map(rank => {
    const of = (name: string): number =>
      Number(new RegExp(`vllm:num_requests_${name}\\{engine="${rank}"[^}]*\\} (\\d+)`).exec(metrics)?.[1])
    return of('running') + of('waiting')
  })
  t.deepEqual(
    busy.reduce((sum, count) => sum + count),
    8,
  )
  t.true(Math.max(...busy) <= 3, String(busy))
})

test('arrays and SGLang’s dialect, byte names, a topic', async t => {
  const arrays = await engineFor(t, { kvEvents: ANY, kvEventsForm: 'array', kvEventsHashes: 'bytes' })
  const [batch] = await listen(t, arrays)
  const [event] = batch?.events ?? []
  t.true(event?.type === 'BlockStored' && event.blockHashes[0] instanceof Uint8Array)
  const sglang = await engineFor(t, { kvEvents: ANY, kvEventsDialect: 'sglang' })
  const batches = await listen(t, sglang)
  const stored = batches.flatMap(({ events }) => events).filter(({ type }) => type === 'BlockStored')
  t.true(stored.length > 0 && stored.every(one => !('extraKeys' in one)))
})

test('an address that is none is told at the start, by its name', async t => {
  const error = await t.throwsAsync(engineFor(t, { kvEvents: 'nonsense' }))
  t.regex(error?.message ?? '', /cannot publish KV events on nonsense/)
})
