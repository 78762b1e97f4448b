/** The cache hint, and which requests are served whole. */
import test from 'ava'
import fc from 'fast-check'
import { CACHE_MODES } from '#phyllo/data/native.js'
import { fieldOf } from '#phyllo/execution/body-edit.js'
import { HINT_FIELD, HINT_HEADER } from '#phyllo/execution/hand-off/client-fields.js'
import {
  genericDecodeBody,
  genericDecodeHeaders,
  genericPrefillBody,
  type PrefillHint,
  readHint,
  writeHint,
} from '#phyllo/execution/hand-off/generic.js'
import { type HandOffProtocol, handOffRefusal } from '#phyllo/execution/hand-off/refusals.js'

const tokens = fc.integer({ min: 0, max: 2 ** 32 - 1 })
const hints: fc.Arbitrary<PrefillHint> = fc
  .record({
    pod: fc.string({ unit: 'binary', maxLength: 60 }),
    origin: fc.webUrl(),
    cache: fc.option(
      fc.record({
        promptTokens: tokens,
        gpuTokens: tokens,
        lowerTokens: tokens,
        predictedTokens: tokens,
        blockSize: tokens,
        mode: fc.constantFrom(...CACHE_MODES),
      }),
    ),
  })
  .map(({ pod, origin, cache }) => (cache === null ? { pod, origin } : { pod, origin, cache }))

test('a hint comes out of the field and the header as it went in', t => {
  fc.assert(
    fc.property(hints, hint => {
      const body = genericDecodeBody(Buffer.from(`{"prompt":"a","${HINT_FIELD}":{"pod":"evil"}}`), hint)
      t.deepEqual(readHint(fieldOf(body, HINT_FIELD)), hint)
      t.is(fieldOf(body, 'prompt')?.toString(), '"a"')
      const headers = genericDecodeHeaders(['a', 'b', HINT_HEADER, 'evil'], hint)
      t.deepEqual(headers.slice(0, 3), ['a', 'b', HINT_HEADER])
      t.regex(headers[3] ?? '', /^[\x20-\x7e]+$/)
      t.deepEqual(readHint(headers[3]), hint)
      t.is(headers.length, 4)
    }),
  )
})

test('garbage is no hint', t => {
  const whole = writeHint({ pod: 'p', origin: 'http://p' })
  const garbage = fc.oneof(
    fc.uint8Array(),
    fc.string(),
    fc.json(),
    fc.nat().map(at => whole.slice(0, at % whole.length)),
    fc.constantFrom(
      undefined,
      'null',
      whole.replace('1', '2'),
      `${whole}${' '.repeat(5000)}`,
      '{"version":1,"pod":7,"origin":"http://p"}',
    ),
  )
  fc.assert(fc.property(garbage, given => t.is(readHint(given), undefined)))
})

test('a hint with a bad count still names the pod', t => {
  t.deepEqual(readHint('{"version":1,"pod":"p","origin":"o","prompt_tokens":-1,"mode":"exact","later":1}'), {
    pod: 'p',
    origin: 'o',
  })
})

test('the prefill takes no hint of the client’s', t => {
  const sent = genericPrefillBody(Buffer.from(`{"prompt":"a","${HINT_FIELD}":1}`), 'completions')
  t.deepEqual(JSON.parse(sent.toString()), { prompt: 'a', stream: false, max_tokens: 1 })
  const decode = genericDecodeBody(Buffer.from(`{"prompt":"a","${HINT_FIELD}":1}`), undefined)
  t.is(decode.toString(), '{"prompt":"a"}')
})

const all: readonly HandOffProtocol[] = ['vllm-nixl', 'vllm-p2p-nccl', 'vllm-mooncake', 'sglang', 'generic']
/** Those whose blocks go to one sequence. */
const single = ['vllm-nixl', 'vllm-mooncake'] as const
const single3 = [...single, 'sglang'] as const
const notGeneric = all.filter(protocol => protocol !== 'generic')
const notSglang = all.filter(protocol => protocol !== 'sglang')

type Kind = Parameters<typeof handOffRefusal>[2]
const served: readonly [json: string, kind: Kind, refused: readonly HandOffProtocol[]][] = [
  ['{"messages":[]}', 'chat', []],
  ['{"messages":[],"n":1,"best_of":null,"echo":false,"use_beam_search":false}', 'chat', []],
  ['{"messages":[{"n":2,"echo":true}],"logprobs":true,"top_logprobs":5}', 'chat', []],
  ['{"messages":[],"n":2}', 'chat', single3],
  ['{"messages":[],"n":1,"\\u006e":2}', 'chat', single3],
  ['{"messages":[],"n":2,"n":1}', 'chat', []],
  ['{"messages":[],"n":"1"}', 'chat', single3],
  ['{"messages":[],"use_beam_search":true}', 'chat', notGeneric],
  ['{"messages":[],"beam_width":2}', 'chat', notGeneric],
  ['{"messages":[],"prompt_logprobs":0}', 'chat', all],
  ['{"messages":[],"echo":true}', 'chat', all],
  ['{"messages":[],"max_tokens":5}', 'messages', ['sglang']],
  ['{"prompt":"a","best_of":3}', 'completions', single],
  ['{"prompt":"a","echo":true}', 'completions', []],
  ['{"prompt":"a","echo":true,"logprobs":null}', 'completions', []],
  ['{"prompt":"a","logprobs":3}', 'completions', []],
  ['{"prompt":"a","echo":true,"logprobs":0}', 'completions', all],
  ['{"prompt":"a","prompt_logprobs":1}', 'completions', all],
  ['{"prompt":"a","prompt_embeds":["x","y"]}', 'completions', notGeneric],
  ['{"prompt":[1,2]}', 'completions', []],
  ['{"prompt":["a","b"]}', 'completions', single],
  ['{"prompt":["a","b"],"n":2}', 'completions', single3],
  ['{"prompt":[[1,2]]}', 'completions', single],
  [`{"prompt":[${'"a",'.repeat(1024)}"a"]}`, 'completions', single3],
  ['{"prompt":"a","session_params":{"id":"s"}}', 'completions', all],
  ['{"input":"a"}', 'embeddings', all],
  ['{"text":"a"}', 'other', notSglang],
  ['{"text":"a","sampling_params":{"n":2}}', 'other', all],
  ['{"text":"a","return_logprob":true,"logprob_start_len":-1}', 'other', notSglang],
  ['{"text":"a","return_logprob":false,"logprob_start_len":0}', 'other', notSglang],
  ['{"text":"a","return_logprob":true,"logprob_start_len":0}', 'other', all],
  ['{"text":"a","return_logprob":true,"token_ids_logprob":[7]}', 'other', all],
  ['{"input":"a","tools":[{"type":"function","name":"f"}]}', 'responses', []],
  ['{"input":"a","tools":[{"type":"web_search"}]}', 'responses', all],
  ['{"input":"a","previous_response_id":"r"}', 'responses', all],
  ['{"input":"a","background":true}', 'responses', all],
]
for (const [json, kind, refused] of served) {
  test(`${kind} ${json.slice(0, 80)} can't be handed off by: ${refused.join(', ') || 'none'}`, t => {
    const found = all.filter(protocol => {
      const reason = handOffRefusal(protocol, Buffer.from(json), kind)
      if (reason !== undefined) t.true(reason.length > 10)
      return reason !== undefined
    })
    t.deepEqual(found, refused)
  })
}
