/**
 * The exact requests on the wire, field for field, of each protocol: from a file as users write it, through the real router,
 * to pods on raw sockets that record what comes.
 */
import test, { type ExecutionContext } from 'ava'
import { answerWith, chunked, lastChunk, streamHead } from '../../execution/kit-pods.js'
import { type RawPod, rawPodFor, type TestRouter, until } from '../router-kit.js'
import { type Connector, fileFor, startFrom } from './kit.js'

const params =
  '{"do_remote_prefill":true,"do_remote_decode":false,"remote_engine_id":"e","remote_block_ids":[[1,2]],' +
  '"remote_host":"10.0.0.1","remote_port":5600,"remote_request_id":"r","of_a_later_release":12345678901234567890}'
const prefilled = `{"id":"x","object":"chat.completion","choices":[],"kv_transfer_params":${params}}`
/** Not what any serializer writes: it must come through byte for byte. */
const decoded =
  '{"choices":[{"index":0,"message":{"content":"leaf"},"logprobs":{"content":[{"token":"leaf","logprob":-0.10}]}}],' +
  '"usage":{"prompt_tokens": 7,"prompt_tokens_details":{"cached_tokens":6}},  "unknown":1e400}'

interface Pair {
  readonly router: TestRouter
  readonly prefill: RawPod
  readonly decode: RawPod
}

async function pairOf(
  t: ExecutionContext,
  connector: Connector,
  execute?: Record<string, unknown>,
): Promise<Pair> {
  const prefill = await rawPodFor(t, ({ socket }) => socket.write(answerWith(200, prefilled)))
  const decode = await rawPodFor(t, ({ socket, body }) =>
    /"stream":true/.test(body.toString())
      ? socket.write(
          Buffer.concat([
            Buffer.from(streamHead),
            chunked('data: {"choices":[{"text":"leaf"}]}\n\ndata: [DONE]\n\n'),
            Buffer.from(lastChunk),
          ]),
        )
      : socket.write(answerWith(200, decoded)),
  )
  const transfer = (role: string) =>
    connector === 'p2p-nccl'
      ? { connector, address: `10.0.0.${role === 'prefill' ? 1 : 2}:14579` }
      : { connector, bootstrapPort: 9123 }
  const pods = (
    [
      ['prefill', prefill],
      ['decode', decode],
    ] as const
  ).map(([role, { origin }]) => ({
    id: role,
    url: origin,
    role,
    kvTransfer: transfer(role),
  }))
  const router = await startFrom(fileFor({ connector, ...(execute && { execute }) }, pods))
  t.teardown(() => router.close())
  await until(
    async () => (await router.pods()).every(pod => pod.healthy === true && pod.models.length > 0),
    'both are up',
  )
  return { router, prefill, decode }
}

const headersOf = ({ requests: _, ...pod }: RawPod): Record<string, string> =>
  Object.fromEntries(
    (pod.inference()[0]?.head ?? '')
      .split('\r\n')
      .slice(1)
      .map(line => [
        line.slice(0, line.indexOf(':')).toLowerCase(),
        line.slice(line.indexOf(':') + 1).trim(),
      ]),
  )
const lineOf = (pod: RawPod): string => pod.inference()[0]?.head.split('\r\n')[0] ?? ''
const bodyOf = (pod: RawPod): string => pod.inference()[0]?.body.toString() ?? ''

/** All that a client may not say, and what it may, in a spelling that no serializer has. */
const own =
  '"model":"tiny","messages":[{"role":"user","content":"h\\u00e9llo"}],"unknown":{"x":1e400},"logprobs":true,"user":"me",' +
  '"tools":[{"type":"function","function":{"name":"f"}}],"vllm_xargs":{"a":1}'
const foreign =
  ',"kv_transfer_params":{"remote_host":"evil","do_remote_prefill":true},"ec_transfer_params":{},"bootstrap_host":"evil",' +
  '"bootstrap_port":1,"bootstrap_room":5,"bootstrap_pair_key":"k","routed_dp_rank":3,"disagg_prefill_dp_rank":1,' +
  '"data_parallel_rank":1,"phyllo_cache_hint":{}'
const sent = `{${own},"max_tokens":7,"stream":STREAM,"stream_options":{"include_usage":true},"min_tokens":2${foreign}}`

const headers = {
  'content-type': 'application/json',
  authorization: 'Bearer a-client-key',
  'x-own': 'one',
  'x-request-id': 'the-clients-id',
  'x-data-parallel-rank': '3',
  'x-override-bootstrap-room': '5',
  'x-phyllo-cache-hint': '{}',
}

async function send({ router }: Pair, stream: boolean): Promise<string> {
  const answer = await fetch(`${router.url}/v1/chat/completions?q=1`, {
    method: 'POST',
    headers,
    body: sent.replace('STREAM', String(stream)),
  })
  const text = await answer.text()
  if (answer.status !== 200) throw new Error(text)
  return text
}

/** What both legs of every protocol have in common. */
function common(t: ExecutionContext, { prefill, decode }: Pair, id: string | RegExp): void {
  for (const pod of [prefill, decode]) {
    t.is(pod.inference().length, 1)
    t.is(lineOf(pod), 'POST /v1/chat/completions?q=1 HTTP/1.1')
    const { 'x-request-id': given = '', host, ...rest } = headersOf(pod)
    t.is(host, new URL(pod.origin).host)
    if (typeof id === 'string') t.is(given, id)
    else t.regex(given, id)
    t.like(rest, { authorization: 'Bearer a-client-key', 'x-own': 'one', 'content-type': 'application/json' })
    for (const name of ['x-data-parallel-rank', 'x-override-bootstrap-room']) t.false(name in rest, name)
    t.is(Number(rest['content-length']), Buffer.byteLength(bodyOf(pod)))
  }
}

const prefillBody = `{${own},"max_tokens":1,"stream":false`
const decodeBody = (stream: boolean): string =>
  `{${own},"max_tokens":7,"stream":${stream},"stream_options":{"include_usage":true},"min_tokens":2`
const remoteDecode =
  '"kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,' +
  '"remote_block_ids":null,"remote_host":null,"remote_port":null}'

for (const stream of [false, true]) {
  const how = stream ? 'streamed' : 'whole'
  const answer = stream ? 'data: {"choices":[{"text":"leaf"}]}\n\ndata: [DONE]\n\n' : decoded

  test.serial(`nixl, ${how}`, async t => {
    const pair = await pairOf(t, 'nixl')
    t.is(await send(pair, stream), answer)
    common(t, pair, 'the-clients-id')
    t.is(bodyOf(pair.prefill), `${prefillBody},${remoteDecode}}`)
    t.is(bodyOf(pair.decode), `${decodeBody(stream)},"kv_transfer_params":${params}}`)
    t.false('x-phyllo-cache-hint' in headersOf(pair.decode))
  })

  test.serial(`p2p-nccl, ${how}`, async t => {
    const pair = await pairOf(t, 'p2p-nccl')
    t.is(await send(pair, stream), answer)
    common(t, pair, /^___prefill_addr_10\.0\.0\.1:14579___decode_addr_10\.0\.0\.2:14579_[0-9a-f]{32}$/)
    t.is(headersOf(pair.prefill)['x-request-id'], headersOf(pair.decode)['x-request-id'])
    t.is(bodyOf(pair.prefill), `${prefillBody}}`)
    t.is(bodyOf(pair.decode), `${decodeBody(stream)}}`)
  })

  test.serial(`sglang, ${how}`, async t => {
    const pair = await pairOf(t, 'sglang')
    t.is(await send(pair, stream), answer)
    await until(() => pair.prefill.inference().length === 1, 'both legs have come')
    common(t, pair, 'the-clients-id')
    const [, room = ''] = /"bootstrap_room":(\d+)\}$/.exec(bodyOf(pair.decode)) ?? []
    t.true(BigInt(room) > 0n && BigInt(room) < 2n ** 63n)
    const meeting = `,"bootstrap_host":"127.0.0.1","bootstrap_port":9123,"bootstrap_room":${room}}`
    t.is(bodyOf(pair.decode), decodeBody(stream) + meeting)
    t.is(bodyOf(pair.prefill), bodyOf(pair.decode))
  })

  test.serial(`generic, ${how}`, async t => {
    const pair = await pairOf(t, 'generic', { hintField: true })
    t.is(await send(pair, stream), answer)
    common(t, pair, 'the-clients-id')
    t.is(bodyOf(pair.prefill), `${prefillBody}}`)
    const hint = headersOf(pair.decode)['x-phyllo-cache-hint'] ?? ''
    t.like(JSON.parse(hint), { version: 1, pod: 'prefill', origin: pair.prefill.origin })
    t.is(bodyOf(pair.decode), `${decodeBody(stream)},"phyllo_cache_hint":${hint}}`)
    t.false('x-phyllo-cache-hint' in headersOf(pair.prefill))
  })
}

test.serial('sglang: a batch has a list of each', async t => {
  const pair = await pairOf(t, 'sglang')
  const answer = await fetch(`${pair.router.url}/v1/completions`, {
    method: 'POST',
    headers,
    body: '{"model":"tiny","prompt":["a","b"]}',
  })
  t.is(answer.status, 200, await answer.text())
  await until(() => pair.prefill.inference().length === 1, 'both legs have come')
  t.regex(
    bodyOf(pair.decode),
    /^\{"model":"tiny","prompt":\["a","b"\],"bootstrap_host":\["127\.0\.0\.1","127\.0\.0\.1"\],"bootstrap_port":\[9123,9123\],"bootstrap_room":\[\d+,\d+\]\}$/,
  )
  t.is(bodyOf(pair.prefill), bodyOf(pair.decode))
})

test.serial(
  'nixl: a request that goes to one pod has nothing of a hand-off in it, and is the client’s own besides',
  async t => {
    const pair = await pairOf(t, 'nixl')
    const body = `{${own}${foreign},"n":2}`
    const answer = await fetch(`${pair.router.url}/v1/chat/completions`, { method: 'POST', headers, body })
    t.is(await answer.text(), decoded)
    t.is(pair.prefill.inference().length, 0)
    t.is(bodyOf(pair.decode), `{${own},"n":2}`)
  },
)
