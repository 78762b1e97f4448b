/** What the engine does besides answering: aborts, control paths, faults, tools, Anthropic's API. */
import test from 'ava'
import { at, engineFor, eventNames, events, post, postJson, until } from './kit.js'

const messages = [{ role: 'user', content: 'Say something about leaves. '.repeat(20) }]

for (const listen of ['auto', 'node'] as const) {
  test(`a client that goes away frees its blocks and its place in the batch (${listen})`, async t => {
    const engine = await engineFor(t, { listen, speed: 1, maxBatch: 1 })
    const away = new AbortController()
    const body = { model: 'tiny', messages, max_tokens: 1000, ignore_eos: true, stream: true }
    const request = (): Promise<Response> =>
      fetch(`${engine.url}/v1/chat/completions`, {
        method: 'POST',
        body: JSON.stringify(body),
        signal: away.signal,
      })
    const streaming = await request()
    const waiting = request()
    await streaming.body?.getReader().read()
    await until(() => engine.stats().waiting === 1)
    t.true(engine.stats().usedBlocks > 0)
    away.abort()
    await t.throwsAsync(waiting, { any: true })
    await until(() => engine.stats().aborted === 2)
    t.like(engine.stats(), { waiting: 0, running: 0, usedBlocks: 0 })
  })
}

test('an abort while an answer that is not streamed is being made frees it too', async t => {
  const engine = await engineFor(t, { speed: 1 })
  const away = new AbortController()
  const body = JSON.stringify({ model: 'tiny', messages, max_tokens: 1000, ignore_eos: true, n: 3 })
  const request = fetch(`${engine.url}/v1/chat/completions`, { method: 'POST', body, signal: away.signal })
  await until(() => engine.stats().running === 3)
  away.abort()
  await t.throwsAsync(request, { any: true })
  await until(() => engine.stats().aborted === 3)
  t.like(engine.stats(), { waiting: 0, running: 0, usedBlocks: 0 })
})

test('control paths do what they say and are counted', async t => {
  const engine = await engineFor(t)
  const chat = () => post(engine, '/v1/chat/completions', { model: 'tiny', messages, max_tokens: 2 })
  await chat()
  t.true(engine.stats().cachedBlocks > 0)
  t.deepEqual(await postJson(engine, '/reset_prefix_cache', ''), { success: true })
  t.is(engine.stats().cachedBlocks, 0)
  await post(engine, '/sleep', '')
  t.is((await chat()).status, 503)
  await post(engine, '/wake_up', '')
  t.is((await chat()).status, 200)
  await post(engine, '/v1/load_lora_adapter', { lora_name: 'sql', lora_path: 'adapters/sql' })
  t.is((await post(engine, '/v1/chat/completions', { model: 'sql', messages })).status, 200)
  t.like(engine.requests(), {
    'POST /reset_prefix_cache': 1,
    'POST /sleep': 1,
    'POST /v1/load_lora_adapter': 1,
  })
})

test('the caches of two salts and of two adapters are apart', async t => {
  const engine = await engineFor(t)
  await post(engine, '/v1/load_lora_adapter', { lora_name: 'sql' })
  const cached = async (fields: object): Promise<unknown> =>
    at(
      await postJson(engine, '/v1/chat/completions', { model: 'tiny', messages, max_tokens: 1, ...fields }),
      'usage',
      'prompt_tokens_details',
      'cached_tokens',
    )
  t.is(await cached({}), 0)
  t.is(await cached({ cache_salt: 'a' }), 0)
  t.is(await cached({ model: 'sql' }), 0)
  t.true(Number(await cached({})) > 0)
  t.true(Number(await cached({ cache_salt: 'a' })) > 0)
})

test('the reset is refused while a request holds blocks', async t => {
  const engine = await engineFor(t, { speed: 1 })
  const away = new AbortController()
  const body = JSON.stringify({ model: 'tiny', messages, max_tokens: 1000, ignore_eos: true })
  const request = fetch(`${engine.url}/v1/chat/completions`, { method: 'POST', body, signal: away.signal })
  await until(() => engine.stats().running === 1)
  t.deepEqual(await postJson(engine, '/reset_prefix_cache', ''), { success: false })
  away.abort()
  await t.throwsAsync(request, { any: true })
})

test('faults: each misbehaves in its own way, and the next request is served', async t => {
  const engine = await engineFor(t)
  const body = { model: 'tiny', messages, max_tokens: 20, ignore_eos: true }
  const ask = (fault: string, stream = false) =>
    post(engine, '/v1/chat/completions', { ...body, stream }, { 'x-sim-fault': fault })
  t.is((await ask('error')).status, 500)
  t.is((await ask('error=429')).status, 429)
  await t.throwsAsync(ask('refuse'))
  const garbage = await ask('garbage')
  t.is(garbage.status, 200)
  await t.throwsAsync(garbage.json())
  const died = await ask('die=3', true)
  const reader = died.body?.pipeThrough(new TextDecoderStream()).getReader()
  let text = ''
  await t.throwsAsync(async () => {
    for (let part = await reader?.read(); part?.done === false; part = await reader?.read())
      text += part.value
  })
  t.true(events(text.slice(0, text.lastIndexOf('\n\n') + 2)).length <= 3 && !text.includes('[DONE]'))
  await t.throwsAsync((await ask('die')).text())
  await t.throwsAsync(
    fetch(`${engine.url}/v1/chat/completions`, {
      method: 'POST',
      body: JSON.stringify(body),
      headers: { 'x-sim-fault': 'hang' },
      signal: AbortSignal.timeout(100),
    }),
    { any: true },
  )
  t.is((await ask('slow-headers=20')).status, 200)
  t.is((await post(engine, '/v1/chat/completions', body)).status, 200)
  await until(() => engine.stats().usedBlocks === 0)
  t.pass()
})

test('a failure rate fails about that part, the same part for the same seed', async t => {
  const statuses = async (seed: number): Promise<number[]> => {
    const engine = await engineFor(t, { failRate: 0.4, seed })
    const result: number[] = []
    for (let i = 0; i < 50; i++) {
      result.push(
        (await post(engine, '/v1/completions', { model: 'tiny', prompt: 'x', max_tokens: 1 })).status,
      )
    }
    return result
  }
  const first = await statuses(3)
  const failed = first.filter(status => status === 500).length
  t.true(failed > 8 && failed < 32, `${failed} of 50`)
  t.deepEqual(await statuses(3), first)
  t.notDeepEqual(await statuses(4), first)
})

test('Anthropic’s messages: whole, streamed, counted, with tools and errors', async t => {
  const engine = await engineFor(t)
  const body = { model: 'tiny', max_tokens: 400, system: 'Be brief.', messages }
  const whole = await postJson(engine, '/v1/messages', body)
  t.like(whole, {
    type: 'message',
    role: 'assistant',
    model: 'tiny',
    stop_reason: 'end_turn',
    stop_sequence: null,
  })
  const text = await (await post(engine, '/v1/messages', { ...body, stream: true })).text()
  const names = eventNames(text)
  t.deepEqual(names.slice(0, 3), ['message_start', 'content_block_start', 'content_block_delta'])
  t.deepEqual(names.slice(-3), ['content_block_stop', 'message_delta', 'message_stop'])
  const streamed = events(text)
    .map(event => String(at(event, 'delta', 'text') ?? ''))
    .join('')
  t.is(at(whole, 'content', 0, 'text'), streamed)

  const counted = await postJson(engine, '/v1/messages/count_tokens', {
    model: 'tiny',
    system: 'Be brief.',
    messages,
  })
  t.is(at(counted, 'input_tokens'), at(whole, 'usage', 'input_tokens'))

  const tools = [
    { name: 'grow', input_schema: { type: 'object', properties: { leaves: { type: 'integer' } } } },
  ]
  const called = await postJson(engine, '/v1/messages', { ...body, tools, tool_choice: { type: 'any' } })
  t.like(called, { stop_reason: 'tool_use' })
  t.is(typeof at(called, 'content', 0, 'input', 'leaves'), 'number')

  const bad = await post(engine, '/v1/messages', { model: 'nope', max_tokens: 1, messages })
  t.is(bad.status, 404)
  t.like(await bad.json(), { type: 'error', error: { type: 'not_found_error' } })
})

test('instant: fixed bytes at once, in the wanted number of chunks', async t => {
  const engine = await engineFor(t, { instant: true, instantChunks: 7 })
  const whole = await postJson(engine, '/v1/chat/completions', { model: 'any', messages: [] })
  t.is(at(whole, 'choices', 0, 'finish_reason'), 'stop')
  const stream = await (await post(engine, '/v1/chat/completions', { stream: true })).text()
  t.is(events(stream).length, 9, 'the role, seven pieces and [DONE]')
  t.is((await fetch(`${engine.url}/v1/models`)).status, 200)
})

test('a slow client gets the whole stream, and the engine stays free meanwhile', async t => {
  const engine = await engineFor(t, { maxModelLen: 16_000 })
  const body = JSON.stringify({ model: 'tiny', messages, max_tokens: 12_000, ignore_eos: true, stream: true })
  const slow = await fetch(`${engine.url}/v1/chat/completions`, { method: 'POST', body })
  await until(() => engine.stats().finished === 1)
  t.is((await post(engine, '/v1/completions', { model: 'tiny', prompt: 'x', max_tokens: 1 })).status, 200)
  const text = await slow.text()
  t.true(text.endsWith('data: [DONE]\n\n'))
  t.is(events(text).filter(event => at(event, 'choices', 0, 'delta', 'content') !== undefined).length, 12_001)
})
