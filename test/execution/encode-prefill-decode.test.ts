/** Three pods for chats with media, over raw sockets: what goes to whom, and what is done without the first. */
import test from 'ava'
import fc from 'fast-check'
import { hasMedia, readEncodeHandOff } from '#phyllo/execution/hand-off/vllm-encode.js'
import { workflowFor } from '#phyllo/execution/workflows/registry.js'
import {
  answerWith,
  assertClean,
  type Pod,
  type PodRequest,
  RecordingSink,
  startPod,
  startWorker,
} from './kit.js'

const workflow = workflowFor({ name: 'encode-prefill-decode', options: { encodeTimeoutMs: 300 } })
const kv =
  '{"do_remote_prefill":true,"remote_engine_id":"p","remote_block_ids":[[1]],"remote_host":"h","remote_port":5600}'
const ec =
  '{"6643…": {"item_indices":[0],"metadata":{"image_grid_thw":[1, 44,80]},"peer_host":"127.0.0.1","peer_port":8610,"size_bytes":45056000000000000001}}'
const image = '{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}'
const chat = (part: string): string =>
  `{"model":"m","max_tokens":7,"messages":[{"role":"user","content":[{"type":"text","text":"what?"},${part}]}],"unknown":1e400}`

type T = Parameters<typeof startPod>[0]

async function fleet(t: T, encode: (request: PodRequest) => void) {
  const pods = [
    await startPod(t, encode),
    await startPod(t, ({ socket }) => socket.write(answerWith(200, `{"kv_transfer_params":${kv}}`))),
    await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}'))),
  ]
  const worker = startWorker(
    t,
    pods.map(({ origin }) => origin),
    { roles: ['encode', 'prefill', 'decode'] },
  )
  worker.lane.uncached = 9000
  return { pods, worker }
}
const counts = (pods: readonly Pod[]): number[] => pods.map(({ requests }) => requests.length)

test('encode, prefill with where the embeddings are, decode: each gets the client’s own bytes but for its fields', async t => {
  const { pods, worker } = await fleet(t, ({ socket }) =>
    socket.write(answerWith(200, `{"ec_transfer_params":${ec}}`)),
  )
  const sink = new RecordingSink()
  const body = chat(image)
  t.like(await worker.run(sink, { body, ticket: 1, workflow }), { status: 200, outcome: 'ok' })
  t.is(sink.text, '{"text":"hi"}')
  const [encode, prefill, decode] = pods.map(pod => `${pod.requests[0]?.body}`)
  t.is(encode, body.replace('"max_tokens":7', '"max_tokens":1').replace(/}$/, ',"stream":false}'))
  t.true(prefill?.includes(`"ec_transfer_params":${ec}`))
  t.regex(prefill ?? '', /"max_tokens":1,.*"kv_transfer_params":\{"do_remote_decode":true/)
  t.is(decode, body.replace(/}$/, `,"kv_transfer_params":${kv}}`))
  t.deepEqual(worker.picks, ['pod-0', 'pod-1', 'pod-2'])
  await assertClean(t, worker)
})

test('what a client says of embeddings goes nowhere', async t => {
  const { pods, worker } = await fleet(t, ({ socket }) =>
    socket.write(answerWith(200, '{"ec_transfer_params":null}')),
  )
  const body = chat(image).replace('"model"', '"ec_transfer_params":{"x":{"peer_host":"evil"}},"model"')
  t.like(await worker.run(new RecordingSink(), { body, ticket: 1, workflow }), { status: 200 })
  for (const pod of pods) t.notRegex(`${pod.requests[0]?.body}`, /evil|ec_transfer/)
  await assertClean(t, worker)
})

const faults: [string, (request: PodRequest) => void][] = [
  ['400', ({ socket }) => void socket.write(answerWith(400, '{}'))],
  ['503', ({ socket }) => void socket.write(answerWith(503, '{}'))],
  ['garbage', ({ socket }) => void socket.write(answerWith(200, '<html>'))],
  ['no object', ({ socket }) => void socket.write(answerWith(200, '{"ec_transfer_params":[1]}'))],
  ['reset', ({ socket }) => void socket.resetAndDestroy()],
  ['hang', () => undefined],
]
for (const [name, fault] of faults) {
  test(`an encode pod that fails (${name}) is done without`, async t => {
    const { pods, worker } = await fleet(t, fault)
    const sink = new RecordingSink()
    t.like(await worker.run(sink, { body: chat(image), ticket: 1, workflow }), { status: 200, outcome: 'ok' })
    t.is(sink.text, '{"text":"hi"}')
    t.deepEqual(counts(pods), [1, 1, 1])
    t.notRegex(`${pods[1]?.requests[0]?.body}`, /ec_transfer_params/)
    await assertClean(t, worker)
  })
}

test('text takes two pods, short text one; so do requests that cannot be split', async t => {
  const { pods, worker } = await fleet(t, () => undefined)
  const text = chat('{"type":"text","text":"image_url"}')
  t.like(await worker.run(new RecordingSink(), { body: text, ticket: 1, workflow }), { status: 200 })
  t.deepEqual(counts(pods), [0, 1, 1])
  worker.lane.uncached = 10
  t.like(await worker.run(new RecordingSink(), { body: text, ticket: 1, workflow }), { status: 200 })
  t.deepEqual(counts(pods), [0, 1, 2])
  const twice = chat(image).replace('"model"', '"n":2,"model"')
  t.like(await worker.run(new RecordingSink(), { body: twice, ticket: 1, workflow }), { status: 200 })
  t.deepEqual(counts(pods), [0, 1, 3])
  await assertClean(t, worker)
})

test('media are seen wherever a message has them, and nothing else is taken for them', t => {
  const part = fc.constantFrom('image_url', 'video_url', 'audio_url', 'input_audio', 'text', 'refusal')
  const message = fc.record({
    role: fc.string(),
    content: fc.oneof(fc.string(), fc.array(fc.record({ type: part, text: part }))),
  })
  fc.assert(
    fc.property(fc.array(message), messages => {
      const expected = messages.some(
        ({ content }) =>
          typeof content !== 'string' && content.some(({ type }) => !['text', 'refusal'].includes(type)),
      )
      const body = Buffer.from(JSON.stringify({ note: 'image_url', messages }))
      return hasMedia(body, 'chat') === expected && !hasMedia(body, 'completions')
    }),
  )
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array(),
        fc.json().map(json => Buffer.from(`{"ec_transfer_params":${json}}`)),
      ),
      answer => {
        readEncodeHandOff(answer)
        return true
      },
    ),
  )
  t.pass()
})
