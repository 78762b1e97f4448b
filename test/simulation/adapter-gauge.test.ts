/** The simulated engine's gauge of LoRA adapters, as the router's own reader understands it. */
import test from 'ava'
import { ALL_NEEDLES } from '#phyllo/data/scrape/needles.js'
import { PageReader } from '#phyllo/data/scrape/page.js'
import { readingOf } from '#phyllo/data/scrape/reading.js'
import { AdapterGauge } from '#phyllo/simulation/engine/adapter-gauge.js'
import { engineFor, post, until } from './kit.js'

function adaptersOf(page: string) {
  const reader = new PageReader()
  reader.begin(ALL_NEEDLES)
  const bytes = Buffer.from(page)
  reader.push(bytes, 0, bytes.length)
  const found = reader.finish()
  return found && readingOf(found, undefined)?.adapters
}

test('who runs and who waits, and what an idle engine had last', async t => {
  const engine = await engineFor(t, { speed: 1, maxBatch: 1, maxLoras: 2 })
  const page = async (): Promise<string> => (await fetch(`${engine.url}/metrics`)).text()
  for (const lora_name of ['sql', 'chat']) await post(engine, '/v1/load_lora_adapter', { lora_name })
  t.regex(await page(), /^# TYPE vllm:lora_requests_info gauge$/m)
  t.is(adaptersOf(await page()), undefined)
  const aways = [new AbortController(), new AbortController()]
  const ask = (model: string, away = new AbortController()): Promise<Response> =>
    fetch(`${engine.url}/v1/completions`, {
      method: 'POST',
      body: JSON.stringify({ model, prompt: 'leaves', max_tokens: 1000, ignore_eos: true, stream: true }),
      signal: away.signal,
    })
  const streaming = await ask('sql', aways[0])
  await streaming.body?.getReader().read()
  const waiting = ask('chat', aways[1])
  await until(() => engine.stats().waiting === 1)
  t.deepEqual(adaptersOf(await page()), { max: 2, running: ['sql'], waiting: ['chat'] })
  aways[1]?.abort()
  await t.throwsAsync(waiting, { any: true })
  await until(() => engine.stats().aborted === 1)
  t.deepEqual(adaptersOf(await page()), { max: 2, running: ['sql'], waiting: [] })
  aways[0]?.abort()
  await until(() => engine.stats().aborted === 2)
  t.deepEqual(adaptersOf(await page()), { max: 2, running: ['sql'], waiting: [] })
  t.regex(await page(), /running_lora_adapters="",waiting_lora_adapters=""/)
})

test('a request without an adapter leaves no trace, and combinations are bounded', t => {
  let now = 1_789_828_498_000
  const gauge = new AdapterGauge(4, () => now++)
  gauge.runs('x')
  gauge.leaves('x')
  t.deepEqual(gauge.render(), [])
  for (let i = 0; i < 5000; i++) {
    gauge.waits(`r${i}`, `a"\\${i}`)
    gauge.runs(`r${i}`)
    if (i > 0) gauge.leaves(`r${i - 1}`)
  }
  t.is(gauge.render().length, 1000)
  const running = 'vllm:num_requests_running{engine="0"} 1\n'
  t.deepEqual(adaptersOf(`${running}${gauge.render().join('\n')}\n`), {
    max: 4,
    running: ['a"\\4999'],
    waiting: [],
  })
})
