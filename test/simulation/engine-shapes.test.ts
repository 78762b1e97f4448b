/** The engine's answers have the shapes that a real vLLM 0.32 was recorded with. */
import test from 'ava'
import { at, capture, captureJson, engineFor, events, post, postJson, shape } from './kit.js'

const PROMPT = 'The quick brown fox jumps over the lazy dog near the river bank. '.repeat(12)
const messages = [
  { role: 'system', content: 'You are terse.' },
  { role: 'user', content: PROMPT },
]

test('chat, second time: as recorded, cached tokens included', async t => {
  const engine = await engineFor(t)
  const body = { model: 'tiny', messages, max_tokens: 8, temperature: 0 }
  const first = await postJson(engine, '/v1/chat/completions', body)
  const again = await postJson(engine, '/v1/chat/completions', body)
  t.deepEqual(shape(again), shape(captureJson('chat_cached.json')))
  t.is(at(first, 'usage', 'prompt_tokens_details', 'cached_tokens'), 0)
  const prompt = Number(at(again, 'usage', 'prompt_tokens'))
  t.is(at(again, 'usage', 'prompt_tokens_details', 'cached_tokens'), Math.floor((prompt - 1) / 16) * 16)
  t.is(at(again, 'usage', 'completion_tokens'), 8)
  t.is(at(again, 'choices', 0, 'finish_reason'), 'length')
  t.deepEqual(
    at(again, 'choices', 0, 'message'),
    at(first, 'choices', 0, 'message'),
    'equal prompts, equal answers',
  )
})

test('a chat stream: the same events in the same places, with usage and without', async t => {
  const engine = await engineFor(t)
  const body = { model: 'tiny', messages, max_tokens: 8, stream: true, ignore_eos: true }
  const withUsage = await post(engine, '/v1/chat/completions', {
    ...body,
    stream_options: { include_usage: true },
  })
  t.is(withUsage.headers.get('content-type'), 'text/event-stream; charset=utf-8')
  const got = events(await withUsage.text())
  const recorded = events(capture('chat_stream_cached.sse'))
  t.deepEqual(got.map(shape), recorded.map(shape))
  t.is(got.at(-1), '[DONE]')

  const ids = await post(engine, '/v1/chat/completions', { ...body, max_tokens: 4, return_token_ids: true })
  t.deepEqual(events(await ids.text()).map(shape), events(capture('chat_stream_tokids.sse')).map(shape))
})

test('the pieces of a stream make up the answer that is not streamed', async t => {
  const engine = await engineFor(t)
  const body = { model: 'tiny', messages, n: 2 }
  const whole = await postJson(engine, '/v1/chat/completions', body)
  const stream = events(await (await post(engine, '/v1/chat/completions', { ...body, stream: true })).text())
  for (const choice of [0, 1]) {
    const text = stream
      .filter(event => at(event, 'choices', 0, 'index') === choice)
      .map(event => String(at(event, 'choices', 0, 'delta', 'content') ?? ''))
      .join('')
    t.is(at(whole, 'choices', choice, 'message', 'content'), text)
    t.is(at(whole, 'choices', choice, 'finish_reason'), 'stop')
  }
  t.not(at(whole, 'choices', 0, 'message', 'content'), at(whole, 'choices', 1, 'message', 'content'))
})

test('completions: text, ids and batches', async t => {
  const engine = await engineFor(t)
  const body = { model: 'tiny', prompt: PROMPT, max_tokens: 4, return_token_ids: true }
  const one = await postJson(engine, '/v1/completions', body)
  const recorded = captureJson('completion.json')
  t.deepEqual(shape({ ...Object(one), usage: null }), shape({ ...Object(recorded), usage: null }))
  // The recorded engine ran without prompt token details, so those are compared with the chat's.
  t.deepEqual(shape(at(one, 'usage')), shape(at(captureJson('chat_cached.json'), 'usage')))

  const ids = at(one, 'choices', 0, 'prompt_token_ids')
  const byIds = await postJson(engine, '/v1/completions', { ...body, prompt: ids })
  t.is(at(byIds, 'choices', 0, 'text'), at(one, 'choices', 0, 'text'), 'the same tokens, however they came')

  const batch = await postJson(engine, '/v1/completions', { ...body, prompt: [PROMPT, 'other text'], n: 2 })
  const choices = at(batch, 'choices')
  t.deepEqual(Array.isArray(choices) ? choices.map(choice => at(choice, 'index')) : [], [0, 1, 2, 3])
  t.is(at(batch, 'choices', 0, 'text'), at(one, 'choices', 0, 'text'))
  t.is(at(batch, 'usage', 'completion_tokens'), 16)

  const stream = events(await (await post(engine, '/v1/completions', { ...body, stream: true })).text())
  const text = stream.map(event => String(at(event, 'choices', 0, 'text') ?? '')).join('')
  t.is(at(one, 'choices', 0, 'text'), text)
})

test('responses: as recorded, stored, continued, and 404 for what is not there', async t => {
  const engine = await engineFor(t)
  const first = await postJson(engine, '/v1/responses', { model: 'tiny', input: 'hi', max_output_tokens: 4 })
  t.deepEqual(shape(first), shape(captureJson('responses.json')))
  t.is(at(first, 'status'), 'incomplete')
  const id = String(at(first, 'id'))
  t.deepEqual(await (await fetch(`${engine.url}/v1/responses/${id}`)).json(), first)

  const next = { model: 'tiny', input: 'and now?', previous_response_id: id }
  const second = await postJson(engine, '/v1/responses', next)
  t.is(at(second, 'status'), 'completed')
  t.is(at(second, 'previous_response_id'), id)
  t.true(Number(at(second, 'usage', 'input_tokens')) > Number(at(first, 'usage', 'input_tokens')) + 4)

  const unstored = await postJson(engine, '/v1/responses', { model: 'tiny', input: 'hi', store: false })
  for (const missing of ['resp_nope', String(at(unstored, 'id'))]) {
    t.is((await fetch(`${engine.url}/v1/responses/${missing}`)).status, 404)
    t.is((await post(engine, '/v1/responses', { ...next, previous_response_id: missing })).status, 404)
  }
})

test('errors are the recorded ones', async t => {
  const engine = await engineFor(t, { maxModelLen: 128 })
  const model = await post(engine, '/v1/chat/completions', { model: 'nope', messages })
  t.is(model.status, 404)
  t.deepEqual(await model.json(), captureJson('err_model.json'))

  const long = await post(engine, '/v1/completions', { model: 'tiny', prompt: 'word '.repeat(400) })
  t.is(long.status, 400)
  const error: unknown = await long.json()
  t.deepEqual(shape(error), shape(captureJson('err_len.json')))
  t.regex(String(at(error, 'error', 'message')), /maximum context length is 128 tokens/)

  const missing = await post(engine, '/v1/chat/completions', { model: 'tiny' })
  t.is(missing.status, 400)
  const invalid: unknown = await missing.json()
  t.deepEqual(shape(invalid), shape(captureJson('err_json.json')))
  t.is(at(invalid, 'error', 'param'), 'body.messages')
  t.regex(String(at(invalid, 'error', 'message')), /'type': 'missing', 'loc': 'body.messages'/)

  for (const body of ['{"model":', '[]', 'null', '{"model":1,"messages":[]}']) {
    t.is((await post(engine, '/v1/chat/completions', body)).status, 400, body)
  }
  t.is((await fetch(`${engine.url}/nothing/here`)).status, 404)
})

test('models, version, tokenization', async t => {
  const engine = await engineFor(t)
  const get = async (path: string): Promise<unknown> => (await fetch(`${engine.url}${path}`)).json()
  t.deepEqual(shape(await get('/v1/models')), shape(captureJson('models.json')))
  t.deepEqual(await get('/version'), captureJson('version.json'))
  t.is((await fetch(`${engine.url}/health`)).status, 200)
  const chat = await postJson(engine, '/tokenize', { model: 'tiny', messages, add_generation_prompt: true })
  t.deepEqual(shape(chat), shape(captureJson('tokenize_chat.json')))
  const { usage } = Object(await postJson(engine, '/v1/chat/completions', { model: 'tiny', messages }))
  t.is(at(chat, 'count'), at(usage, 'prompt_tokens'))
  const text = await postJson(engine, '/tokenize', { model: 'tiny', prompt: 'grüße 🌿 done' })
  t.is(at(await postJson(engine, '/detokenize', { tokens: at(text, 'tokens') }), 'prompt'), 'grüße 🌿 done')
})

test('metrics carry vLLM’s names and add up', async t => {
  const engine = await engineFor(t)
  const body = { model: 'tiny', messages, max_tokens: 8, ignore_eos: true }
  await postJson(engine, '/v1/chat/completions', body)
  const { usage } = Object(await postJson(engine, '/v1/chat/completions', body))
  const text = await (await fetch(`${engine.url}/metrics`)).text()
  const value = (name: string): number => {
    const line = text.split('\n').find(one => one.startsWith(`vllm:${name}{`))
    return Number(line?.split(' ').at(-1) ?? Number.NaN)
  }
  t.is(value('prompt_tokens_total'), 2 * Number(at(usage, 'prompt_tokens')))
  t.is(value('generation_tokens_total'), 16)
  t.is(value('prefix_cache_queries_total'), value('prompt_tokens_total'))
  t.is(value('prefix_cache_hits_total'), Number(at(usage, 'prompt_tokens_details', 'cached_tokens')))
  t.is(value('time_to_first_token_seconds_count'), 2)
  for (const gauge of ['num_requests_running', 'num_requests_waiting', 'kv_cache_usage_perc'])
    t.is(value(gauge), 0)
  t.regex(text, /vllm:cache_config_info\{block_size="16",.*num_gpu_blocks="2082"\} 1\.0/)
})
