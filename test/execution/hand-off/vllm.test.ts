/** The vLLM protocols, field for field: NIXL against what real pods said, the others against their connectors' source. */
import { readdirSync, readFileSync } from 'node:fs'
import test from 'ava'
import fc from 'fast-check'
import { KV_ADDRESS } from '#phyllo/data/pod-role.js'
import { drop, editBody, fieldOf } from '#phyllo/execution/body-edit.js'
import { aloneBody, CLIENT_FIELDS } from '#phyllo/execution/hand-off/client-fields.js'
import { type HandOffFault, isHandOffFault } from '#phyllo/execution/hand-off/fault.js'
import {
  type MooncakeTransfer,
  mooncakeDecodeBody,
  mooncakePrefillBody,
  mooncakeTransferId,
  readMooncakeEngines,
} from '#phyllo/execution/hand-off/vllm-mooncake.js'
import { nixlDecodeBody, nixlPrefillBody, readNixlHandOff } from '#phyllo/execution/hand-off/vllm-nixl.js'
import {
  p2pDecodeBody,
  p2pHeaders,
  p2pPrefillBody,
  p2pRequestId,
} from '#phyllo/execution/hand-off/vllm-p2p-nccl.js'

const ROOT = new URL('../../../../test/fixtures/captures/prefill-decode/vllm-0.32.0-nixl/', import.meta.url)
const recorded = (name: string): Buffer => readFileSync(new URL(name, ROOT))
const json = (body: Uint8Array): unknown => JSON.parse(Buffer.from(body).toString())
const body = (value: object): Buffer => Buffer.from(JSON.stringify(value))

const cases = readdirSync(ROOT)
  .filter(name => name.endsWith('_prefill_req.json'))
  .map(name => name.replace('_prefill_req.json', ''))

test('there are recorded requests', t => {
  t.is(cases.length, 5)
})

for (const name of cases) {
  const kind = name === 'compl' ? 'completions' : 'chat'
  test(`NIXL: '${name}' is on the wire as it was recorded`, t => {
    const decode = recorded(`${name}_decode_req.json`)
    // What the client sent: the recorded decode request before the router put its field in.
    const client = editBody(decode, [drop('kv_transfer_params')])
    t.deepEqual(json(nixlPrefillBody(client, kind)), json(recorded(`${name}_prefill_req.json`)))
    const answer = recorded(`${name}_prefill_resp.json`)
    const handOff = readNixlHandOff(answer)
    if (isHandOffFault(handOff)) return t.fail(handOff.text)
    t.deepEqual(fieldOf(answer, 'kv_transfer_params'), handOff.params)
    const sent = nixlDecodeBody(client, handOff)
    t.deepEqual(json(sent), json(decode))
    t.deepEqual(fieldOf(sent, 'kv_transfer_params'), handOff.params)
  })
}

const params = {
  do_remote_prefill: true,
  do_remote_decode: false,
  remote_engine_id: 'p0',
  remote_block_ids: [[1]],
  remote_host: '::1',
  remote_port: 5600,
}
const answerOf = (given: unknown): Buffer => body({ id: 'x', kv_transfer_params: given })
const handed = readNixlHandOff(answerOf(params))
if (isHandOffFault(handed)) throw new Error(handed.text)

test('NIXL: the prefill’s parameters go on byte for byte', t => {
  const raw = `{ "remote_port":5600,"remote_host":"h", "do_remote_prefill":true,"remote_engine_id":"e",
    "remote_block_ids":[], "later":18446744073709551615, "f":1.10 }`
  const handOff = readNixlHandOff(Buffer.from(`{"kv_transfer_params":null,"kv_transfer_params": ${raw}}`))
  if (isHandOffFault(handOff)) return t.fail(handOff.text)
  const client = Buffer.from('{"prompt":"a leaf", "seed":12345678901234567890}')
  t.is(
    nixlDecodeBody(client, handOff).toString(),
    `{"prompt":"a leaf", "seed":12345678901234567890,"kv_transfer_params":${raw}}`,
  )
})

const faults: readonly [answer: string, fault: HandOffFault['fault']][] = [
  ['', 'not-json'],
  ['<html>', 'not-json'],
  ['[]', 'not-json'],
  ['{"kv_transfer_params":{"remote_port":', 'not-json'],
  ['{"kv_transfer_params":{"remote_port":x}}', 'not-json'],
  ['{}', 'missing'],
  ['{"choices":[{"kv_transfer_params":{}}]}', 'missing'],
  ['{"kv_transfer_params":null}', 'missing'],
  ['{"kv_transfer_params":"yes"}', 'wrong-type'],
  ['{"kv_transfer_params":[]}', 'wrong-type'],
  ['{"kv_transfer_params":{}}', 'wrong-type'],
  ...Object.entries({
    do_remote_prefill: false,
    remote_engine_id: null,
    remote_host: '',
    remote_port: '5600',
    remote_block_ids: null,
  }).map(([name, wrong]): [string, HandOffFault['fault']] => [
    JSON.stringify({ kv_transfer_params: { ...params, [name]: wrong } }),
    'wrong-type',
  ]),
]
for (const [answer, fault] of faults) {
  test(`NIXL: the answer ${answer} is no hand-off: ${fault}`, t => {
    const found = readNixlHandOff(Buffer.from(answer))
    if (!isHandOffFault(found)) return t.fail('it was taken')
    t.is(found.fault, fault)
  })
}

test('no answer of a pod makes the readers throw', t => {
  const answers = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.json().map(text => Buffer.from(text)),
    fc.json().map(text => Buffer.from(`{"kv_transfer_params":${text}}`)),
    fc.nat().map(at => answerOf(params).subarray(0, at % answerOf(params).length)),
  )
  fc.assert(
    fc.property(answers, answer => {
      t.true(isHandOffFault(readNixlHandOff(answer)))
      const engines = readMooncakeEngines(answer)
      t.true(isHandOffFault(engines) || engines.size > 0)
    }),
  )
})

test('a prefill request makes one token, in one answer, of the same prompt', t => {
  const chat = {
    messages: [{ role: 'user', content: 'a leaf' }],
    tools: [{ type: 'function', function: { name: 'f' } }],
    response_format: { type: 'json_object' },
    chat_template_kwargs: { x: 1 },
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: 50,
    max_completion_tokens: 60,
    min_tokens: 5,
  }
  const { stream_options: _, min_tokens: __, ...rest } = chat
  t.deepEqual(json(p2pPrefillBody(body(chat), 'chat')), {
    ...rest,
    stream: false,
    max_tokens: 1,
    max_completion_tokens: 1,
  })
  const response = { input: 'a leaf', max_output_tokens: 90, store: true, background: false, stream: true }
  t.deepEqual(json(p2pPrefillBody(body(response), 'responses')), {
    input: 'a leaf',
    max_output_tokens: 1,
    store: false,
    stream: false,
  })
  t.deepEqual(json(p2pPrefillBody(body({ prompt: 'a' }), 'completions')), {
    prompt: 'a',
    stream: false,
    max_tokens: 1,
  })
})

const transfer: MooncakeTransfer = {
  id: mooncakeTransferId('5c4'),
  bootstrap: 'http://[::1]:8998',
  engineId: 'e-1',
}

test('Mooncake: both legs name the transfer, decode also the engine', t => {
  const client = body({ prompt: 'a leaf', max_tokens: 9, stop_token_ids: [7], stream: true })
  t.deepEqual(json(mooncakePrefillBody(client, 'completions', transfer)), {
    prompt: 'a leaf',
    max_tokens: 1,
    stream: false,
    ignore_eos: true,
    kv_transfer_params: { do_remote_decode: true, do_remote_prefill: false, transfer_id: 'xfer-5c4' },
  })
  t.deepEqual(json(mooncakeDecodeBody(client, transfer)), {
    prompt: 'a leaf',
    max_tokens: 9,
    stop_token_ids: [7],
    stream: true,
    kv_transfer_params: {
      do_remote_decode: false,
      do_remote_prefill: true,
      transfer_id: 'xfer-5c4',
      remote_bootstrap_addr: 'http://[::1]:8998',
      remote_engine_id: 'e-1',
    },
  })
})

test('Mooncake: engines are read by rank', t => {
  const answer = body({
    0: { engine_id: 'e_dp0', worker_addr: { 0: { 0: 'tcp://h:1' } } },
    12: { engine_id: 'e_dp12', worker_addr: {} },
  })
  t.deepEqual(
    readMooncakeEngines(answer),
    new Map([
      [0, 'e_dp0'],
      [12, 'e_dp12'],
    ]),
  )
  const wrongs: readonly [answer: string, fault: HandOffFault['fault']][] = [
    ['{}', 'missing'],
    ['no', 'not-json'],
    ['[]', 'wrong-type'],
    ['{"a":{"engine_id":"e"}}', 'wrong-type'],
    ['{"0":{"engine_id":7}}', 'wrong-type'],
    ['{"0":null}', 'wrong-type'],
  ]
  for (const [wrong, fault] of wrongs) {
    const found = readMooncakeEngines(Buffer.from(wrong))
    t.is(isHandOffFault(found) && found.fault, fault)
  }
})

test('P2pNccl: vLLM reads both addresses out of the id, which takes the place of the client’s', t => {
  const hosts = fc.oneof(
    fc.ipV4(),
    fc.ipV6().map(ip => `[${ip}]`),
    fc.domain(),
  )
  const address = fc
    .tuple(hosts, fc.integer({ min: 1, max: 65_535 }))
    .map(([host, port]) => `${host}:${port}`)
  const uuids = fc.uuid().map(uuid => uuid.replaceAll('-', ''))
  fc.assert(
    fc.property(address, address, uuids, (prefill, decode, uuid) => {
      t.regex(prefill, KV_ADDRESS)
      const id = p2pRequestId({ prefill, decode, uuid })
      // As vLLM puts it into an id of its own and takes it apart: p2p_nccl_connector.py, parse_request_id.
      const inside = `chatcmpl-${id}`
      t.deepEqual(/___prefill_addr_(.*):(\d+)___/.exec(inside)?.slice(1, 3).join(':'), prefill)
      t.deepEqual(/___decode_addr_(.*):(\d+)/.exec(inside)?.slice(1, 3).join(':'), decode)
      t.true(id.endsWith(`_${uuid}`))
      const sent = p2pHeaders(
        ['authorization', 'Bearer k', 'x-request-id', 'mine', 'x-data-parallel-rank', '3'],
        {
          prefill,
          decode,
          uuid,
        },
      )
      t.deepEqual(sent, ['authorization', 'Bearer k', 'x-request-id', id])
    }),
  )
  for (const wrong of ['h', 'h:', 'a___decode_addr_b:1', 'http://h:1', '::1:5', 'h:1\r\nx: y']) {
    t.notRegex(wrong, KV_ADDRESS)
  }
})

test('what a client says of other pods’ blocks reaches no pod', t => {
  const said = Object.fromEntries(CLIENT_FIELDS.map(name => [name, { remote_block_ids: [[666]], id: 666 }]))
  const escaped = String.raw`"kv\u005ftransfer_params":{"id":666},`
  const nested = `"vllm_xargs":{"a":1,"kv_transfer_params":{"id":666},"ec_transfer_params":666}`
  const client = Buffer.from(
    `{${escaped}${JSON.stringify(said).slice(1, -1)},${nested},${escaped}"prompt":"a"}`,
  )
  for (const sent of [
    nixlPrefillBody(client, 'completions'),
    nixlDecodeBody(client, handed),
    mooncakePrefillBody(client, 'completions', transfer),
    mooncakeDecodeBody(client, transfer),
    p2pPrefillBody(client, 'completions'),
    p2pDecodeBody(client),
    aloneBody(client),
  ]) {
    t.false(sent.includes('666'), sent.toString())
    t.is(fieldOf(sent, 'vllm_xargs')?.toString(), '{"a":1}')
    t.is(fieldOf(sent, 'prompt')?.toString(), '"a"')
  }
})

test('a request for one pod alone is not copied where it says nothing of that kind', t => {
  const client = Buffer.from('{ "prompt":"kv_transfer_params", "x":{"kv_transfer_params":1} }')
  t.is(aloneBody(client), client)
  t.is(aloneBody({ body: client, fields: new Uint32Array(2) }), client)
})
