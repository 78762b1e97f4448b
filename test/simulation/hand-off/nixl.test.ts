/** vLLM's NixlConnector: the fields of the captured traffic, and each way in which a hand-off can be refused. */
import test from 'ava'
import { at, engineFor, events, post, until } from '../kit.js'
import { body, CHAT, isClean, leg, type Pair, pairFor, textOf } from './kit.js'

const ASK = {
  do_remote_decode: true,
  do_remote_prefill: false,
  remote_engine_id: null,
  remote_block_ids: null,
  remote_host: null,
  remote_port: null,
}

/** The prefill leg of a request, and the parameters it answers. */
async function prefilled({ prefill }: Pair, request: Record<string, unknown>): Promise<object> {
  const asked = { ...request, stream: false, max_tokens: 1, kv_transfer_params: ASK }
  const { status, json } = await leg(prefill, asked)
  const params = at(json, 'kv_transfer_params')
  if (status !== 200 || typeof params !== 'object' || params === null) throw new Error(JSON.stringify(json))
  return params
}

test('the prefill answers the captured fields, the decode pulls the blocks and says what the prefill would', async t => {
  const pair = await pairFor(t, 'nixl', { blockSize: 32, engineId: 'prefill-0' })
  const { prefill, decode } = pair
  const request = body()
  const params = await prefilled(pair, request)
  t.deepEqual(Object.keys(params), [
    'do_remote_prefill',
    'do_remote_decode',
    'remote_block_ids',
    'remote_engine_id',
    'remote_request_id',
    'remote_host',
    'remote_port',
    'tp_size',
    'dcp_size',
    'pp_size',
    'remote_num_tokens',
    'remote_blocks_expiry_time',
    'transfer_mode',
    'remote_prefill_cached_tokens',
  ])
  const tokens = Number(at(params, 'remote_num_tokens'))
  t.like(params, {
    do_remote_prefill: true,
    do_remote_decode: false,
    remote_engine_id: 'prefill-0',
    remote_host: '127.0.0.1',
    remote_port: prefill.kvAddress?.port,
    remote_blocks_expiry_time: null,
    transfer_mode: 'pull',
    remote_prefill_cached_tokens: 0,
  })
  t.regex(String(at(params, 'remote_request_id')), /^chatcmpl-[0-9a-f]{16}-[0-9a-f]{8}$/)
  const blocks = at(params, 'remote_block_ids', 0)
  t.true(Array.isArray(blocks) && blocks.length === Math.ceil(tokens / 32) && !blocks.includes(0))
  t.like(prefill.stats(), { holding: 1, usedBlocks: Math.ceil(tokens / 32) })
  t.like(prefill.handOffs(), { made: 1, live: 1 })

  const { status, json } = await leg(decode, { ...request, kv_transfer_params: params })
  t.is(status, 200)
  t.is(at(json, 'kv_transfer_params'), null)
  t.is(at(json, 'usage', 'prompt_tokens'), tokens)
  t.is(at(json, 'usage', 'prompt_tokens_details', 'cached_tokens'), 0)
  t.is(decode.stats().remoteTokens, tokens)
  t.like(prefill.handOffs(), { made: 1, pulled: 1, live: 0 })
  t.like(decode.handOffs(), { received: 1, rejected: 0 })
  t.true(isClean(prefill) && isClean(decode))

  const alone = await leg(prefill, request)
  t.is(textOf(json), textOf(alone.json))
})

test('streams and completions say the same, and usage tells what the prefill had cached', async t => {
  const pair = await pairFor(t, 'nixl')
  const request = body()
  await prefilled(pair, request)
  const params = await prefilled(pair, request)
  const cached = Number(at(params, 'remote_prefill_cached_tokens'))
  t.true(cached > 0)
  const answer = await post(pair.decode, CHAT, {
    ...request,
    kv_transfer_params: params,
    stream: true,
    stream_options: { include_usage: true },
  })
  const chunks = events(await answer.text())
  const text = chunks.map(chunk => at(chunk, 'choices', 0, 'delta', 'content') ?? '').join('')
  t.is(text, String(textOf((await leg(pair.prefill, request)).json)))
  t.is(at(chunks.at(-2), 'usage', 'prompt_tokens_details', 'cached_tokens'), cached)

  const prompt = 'one two three four five six seven eight nine ten '.repeat(20)
  const completion = { model: 'tiny', prompt, max_tokens: 6, temperature: 0 }
  const first = await leg(
    pair.prefill,
    { ...completion, max_tokens: 1, kv_transfer_params: ASK },
    {},
    '/v1/completions',
  )
  const handed = at(first.json, 'kv_transfer_params')
  t.regex(String(at(handed, 'remote_request_id')), /^cmpl-[0-9a-f]{16}-0-[0-9a-f]{8}$/)
  const second = await leg(pair.decode, { ...completion, kv_transfer_params: handed }, {}, '/v1/completions')
  const alone = await leg(pair.prefill, completion, {}, '/v1/completions')
  t.is(at(second.json, 'choices', 0, 'text'), at(alone.json, 'choices', 0, 'text'))
})

test('without parameters either engine serves a request whole', async t => {
  const { prefill, decode } = await pairFor(t, 'nixl')
  const request = body()
  t.is(textOf((await leg(decode, request)).json), textOf((await leg(prefill, request)).json))
  t.like(decode.handOffs(), { received: 0, rejected: 0 })
  t.is(decode.stats().remoteTokens, 0)
})

test('a hand-off is refused: used before, unknown, foreign, of another prompt, in two samples, unreachable', async t => {
  const pair = await pairFor(t, 'nixl')
  const { prefill, decode } = pair
  const request = body()
  const params = await prefilled(pair, request)
  const refused = async (
    fields: object,
    status: number,
    message: RegExp,
    over: object = {},
  ): Promise<void> => {
    const before = decode.handOffs().rejected
    const answer = await leg(decode, { ...request, ...over, kv_transfer_params: { ...params, ...fields } })
    t.is(answer.status, status)
    t.regex(answer.message, message)
    t.is(decode.handOffs().rejected, before + 1)
  }
  await refused({ remote_request_id: 'chatcmpl-none' }, 500, /unknown/)
  await refused({ remote_engine_id: 'somebody' }, 500, /is of engine somebody/)
  await refused({ remote_port: 1 }, 500, /does not answer/)
  await refused({ remote_block_ids: null }, 400, /remote_block_ids/)
  await refused({ remote_host: undefined }, 400, /remote_host/)
  await refused({}, 400, /one consumer/, { n: 2 })
  await refused({}, 500, /another prompt/, body())
  t.like(prefill.handOffs(), { live: 1, pulled: 0 }, 'none of these has touched it')
  t.is((await leg(decode, { ...request, kv_transfer_params: params })).status, 200)
  await refused({}, 500, /used before/)
  t.true(isClean(prefill) && isClean(decode))
})

test('a leg of the wrong role is refused', async t => {
  const pair = await pairFor(t, 'nixl')
  const request = body()
  const params = await prefilled(pair, request)
  t.is((await leg(pair.prefill, { ...request, kv_transfer_params: params })).status, 400)
  t.is((await leg(pair.decode, { ...request, kv_transfer_params: ASK })).status, 400)
})

test('blocks that nobody pulls are freed after their time, and a late pull is told so', async t => {
  const pair = await pairFor(t, 'nixl', {}, { prefill: { kvTimeout: 0.05 } })
  const { prefill, decode } = pair
  const request = body()
  const params = await prefilled(pair, request)
  await until(() => prefill.handOffs().expired === 1)
  t.true(isClean(prefill))
  const late = await leg(decode, { ...request, kv_transfer_params: params })
  t.is(late.status, 500)
  t.regex(late.message, /has expired/)
})

test('a failed load in a stream is an error event after the 200, as vLLM sends it', async t => {
  const pair = await pairFor(t, 'nixl')
  const request = body()
  const params = { ...(await prefilled(pair, request)), remote_request_id: 'none' }
  const answer = await post(pair.decode, CHAT, { ...request, stream: true, kv_transfer_params: params })
  t.is(answer.status, 200)
  const [error, done] = events(await answer.text())
  t.is(at(error, 'error', 'code'), 500)
  t.is(done, '[DONE]')
})

test('the recompute policy prefills here what could not be loaded', async t => {
  const pair = await pairFor(t, 'nixl', { kvLoadFailure: 'recompute' })
  const request = body()
  const params = await prefilled(pair, request)
  await leg(pair.decode, { ...request, kv_transfer_params: params })
  const again = await leg(pair.decode, { ...request, kv_transfer_params: params })
  t.is(again.status, 200)
  t.is(textOf(again.json), textOf((await leg(pair.prefill, request)).json))
  t.like(pair.decode.handOffs(), { received: 1, recomputed: 1, rejected: 0 })
})

test('a client that goes away in the middle of a transfer frees the blocks on both sides', async t => {
  // So slow that the transfer is still under way when the client goes.
  const pair = await pairFor(t, 'nixl', {}, { decode: { kvBandwidth: 0.0001 } })
  const request = body()
  const params = await prefilled(pair, request)
  const away = new AbortController()
  const decoding = fetch(`${pair.decode.url}${CHAT}`, {
    method: 'POST',
    body: JSON.stringify({ ...request, kv_transfer_params: params }),
    signal: away.signal,
  })
  await until(() => pair.decode.stats().waiting === 1)
  // Claimed: it is no more to be had.
  await until(() => pair.decode.requests()[`POST ${CHAT}`] === 1)
  await new Promise(resolve => setTimeout(resolve, 50))
  away.abort()
  await t.throwsAsync(decoding, { any: true })
  await until(() => isClean(pair.prefill) && isClean(pair.decode))
  t.like(pair.prefill.handOffs(), { made: 1, pulled: 0, abandoned: 1, live: 0 })
})

test('one engine plays both parts, and the metrics page tells of either as vLLM does', async t => {
  const engine = await engineFor(t, { kvConnector: 'nixl', kvPort: 0 })
  const pair = { prefill: engine, decode: await engineFor(t, { kvConnector: 'nixl', kvPort: 0 }) }
  const request = body()
  const params = await prefilled(pair, request)
  const tokens = Number(at(params, 'remote_num_tokens'))
  t.is((await leg(pair.decode, { ...request, kv_transfer_params: params })).status, 200)
  const page = await (await fetch(`${pair.decode.url}/metrics`)).text()
  const value = (name: string): number =>
    Number(
      page
        .split('\n')
        .find(line => line.startsWith(`vllm:${name}`))
        ?.split(' ')[1],
    )
  t.is(value('prompt_tokens_total'), tokens)
  t.is(value('external_prefix_cache_hits_total'), tokens)
  t.is(value('prompt_tokens_by_source_total{engine="0",model_name="tiny",source="local_compute"}'), 0)
  t.is(value('nixl_bytes_transferred_count'), 1)
  t.true(value('nixl_bytes_transferred_sum') > 0)
  t.is(value('num_requests_waiting{'), 0)
  const other = await (await fetch(`${engine.url}/metrics`)).text()
  t.true(other.includes('vllm:nixl_num_kv_expired_reqs_total{engine="0",model_name="tiny"} 0.0'))
})
