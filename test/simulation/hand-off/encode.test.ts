/** The encode role, after vLLM's encoder disaggregation: embeddings by hash, fetched by whoever runs the model. */
import test from 'ava'
import { at, engineFor } from '../kit.js'
import { leg, textOf } from './kit.js'

const image = (name: string): object => ({
  type: 'image_url',
  image_url: { url: `data:image/png;base64,${name}` },
})

const chat = (...images: object[]) => ({
  model: 'tiny',
  messages: [{ role: 'user', content: [{ type: 'text', text: 'What is this? ' }, ...images] }],
  max_tokens: 8,
  temperature: 0,
})

test('the encode engine answers where each image’s embedding is, and the next engine fetches it', async t => {
  const encode = await engineFor(t, { role: 'encode', kvPort: 0 })
  const mixed = await engineFor(t)
  const request = chat(image('one'), image('two'), image('one'))
  const encoded = await leg(encode, { ...request, max_tokens: 1 })
  t.is(encoded.status, 200)
  const params = at(encoded.json, 'ec_transfer_params')
  const entries: unknown[] = Object.values(params ?? {})
  t.is(entries.length, 2)
  t.deepEqual(
    entries.map(entry => at(entry, 'item_indices')),
    [[0, 2], [1]],
  )
  t.like(entries[0], {
    metadata: {},
    peer_host: '127.0.0.1',
    peer_port: encode.kvAddress?.port,
    size_bytes: 7_340_032,
    shape: [1024, 3584],
  })
  const answer = await leg(mixed, { ...request, ec_transfer_params: params })
  t.is(answer.status, 200)
  t.like(mixed.handOffs(), { received: 2, missed: 0 })
  t.like(encode.handOffs(), { made: 2, pulled: 2 })
  t.is((await leg(mixed, request)).status, 200)
  t.like(mixed.handOffs(), { received: 2, missed: 0 }, 'remembered')
})

test('embeddings that can’t be had are made where they are needed', async t => {
  const encode = await engineFor(t, { role: 'encode', kvPort: 0 })
  const mixed = await engineFor(t)
  const request = chat(image('three'))
  const params = at((await leg(encode, { ...request, max_tokens: 1 })).json, 'ec_transfer_params')
  await encode.close()
  const answer = await leg(mixed, { ...request, ec_transfer_params: params })
  t.is(answer.status, 200)
  t.like(mixed.handOffs(), { received: 0, missed: 1 })
  const other = await engineFor(t)
  t.is(textOf((await leg(other, request)).json), textOf(answer.json))
})

test('what has nothing to encode is refused', async t => {
  const encode = await engineFor(t, { role: 'encode', kvPort: 0 })
  const answer = await leg(encode, { ...chat(), max_tokens: 1 })
  t.is(answer.status, 400)
  t.regex(answer.message, /image or a sound/)
})

test('a request that was not made for an encoder is refused, and so is what garbles its answer', async t => {
  const encode = await engineFor(t, { role: 'encode', kvPort: 0 })
  for (const fields of [
    { max_tokens: 2 },
    { max_tokens: 1, stream: true },
    { max_tokens: 1, max_completion_tokens: 8 },
    { max_tokens: 1, kv_transfer_params: { do_remote_decode: true } },
    { max_tokens: 1, ec_transfer_params: {} },
  ]) {
    const answer = await leg(encode, { ...chat(image('four')), ...fields })
    t.is(answer.status, 400, JSON.stringify(fields))
    t.regex(answer.message, /an encode engine gets max_tokens 1 and no more: /)
  }
  const mixed = await engineFor(t)
  const place = { peer_host: '127.0.0.1', peer_port: 1 }
  for (const [params, message] of [
    [{ other: place }, /names other, which the request has not/],
    [[place], /ec_transfer_params: /],
    [{ x: { peer_host: '127.0.0.1' } }, /ec_transfer_params: /],
  ] as const) {
    const answer = await leg(mixed, { ...chat(image('four')), ec_transfer_params: params })
    t.is(answer.status, 400)
    t.regex(answer.message, message)
  }
  const decode = await engineFor(t, { role: 'decode', kvConnector: 'nixl', kvPort: 0 })
  t.is((await leg(decode, { ...chat(image('four')), ec_transfer_params: {} })).status, 400)
  t.like(encode.handOffs(), { made: 0, rejected: 5 })
})

test('an engine without an encoder takes media whose embeddings it is told of, and refuses others', async t => {
  const encode = await engineFor(t, { role: 'encode', kvPort: 0 })
  const bare = await engineFor(t, { encodes: false })
  const request = chat(image('five'))
  const refused = await leg(bare, request)
  t.is(refused.status, 400)
  t.regex(refused.message, /no embedding of [0-9a-f]{64}, and this engine has no encoder/)
  const params = at((await leg(encode, { ...request, max_tokens: 1 })).json, 'ec_transfer_params')
  t.is((await leg(bare, { ...request, ec_transfer_params: params })).status, 200)
  t.is((await leg(bare, chat())).status, 200, 'text needs none')
  const other = chat(image('six'))
  const gone = at((await leg(encode, { ...other, max_tokens: 1 })).json, 'ec_transfer_params')
  await encode.close()
  t.is((await leg(bare, { ...other, ec_transfer_params: gone })).status, 500, 'the other engine’s fault')
})
