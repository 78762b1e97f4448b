/** What `scan` answers means the same on both sides: the order of FIELDS, the kinds of bodies, the SCAN codes. */
import test, { type ExecutionContext } from 'ava'
import {
  BODY_KINDS,
  type BodyKind,
  FIELDS,
  type FieldName,
  type Lane,
  loadNative,
  SCAN,
} from '#phyllo/data/native.js'
import { STATE_OPTIONS } from './state-options.js'

let states = 0

function laneFor(t: ExecutionContext): Lane {
  const addon = loadNative()
  const name = `scan-${states++}`
  t.teardown(() => addon.SharedState.close(name))
  const state = addon.SharedState.open(name, STATE_OPTIONS)
  return new addon.Lane(state)
}

/** A value that each field may have, in every kind of body that has it. */
const values: Readonly<Record<FieldName, unknown>> = {
  model: 'm',
  messages: [{ role: 'user', content: 'x' }],
  prompt: 'p',
  input: 'i',
  stream: true,
  n: 2,
  user: 'u',
  session_id: 's',
  session_params: { session_id: 's' },
  prompt_cache_key: 'k',
  previous_response_id: 'r',
  tools: [],
  system: 'y',
  instructions: 'z',
  max_tokens: 3,
  add_generation_prompt: true,
  continue_final_message: false,
  chat_template_kwargs: {},
  documents: [],
  cache_salt: 'c',
  add_special_tokens: false,
  user_id: 'd',
}

test('scan writes the span of each field at its place in FIELDS', t => {
  const lane = laneFor(t)
  const out = new Uint32Array(2 * FIELDS.length)
  for (const field of FIELDS) {
    const body = Buffer.from(
      JSON.stringify({ unknown: [1, { model: 0 }], [field]: values[field], model: 'm', messages: [{}] }),
    )
    t.is(lane.scan(body, BODY_KINDS.messages, out.fill(0)), SCAN.ok, field)
    FIELDS.forEach((other, i) => {
      const [at = 0, length = 0] = out.subarray(2 * i)
      const text = body.subarray(at, at + length).toString()
      if (other === 'model') t.is(text, '"m"')
      else if (other === 'messages') t.is(text, '[{}]')
      else t.is(text, other === field ? JSON.stringify(values[field]) : '', `${other} of ${field}`)
    })
  }
})

test('each kind of body demands its own field', t => {
  const lane = laneFor(t)
  const out = new Uint32Array(2 * FIELDS.length)
  const demanded: Readonly<Record<BodyKind, FieldName | null>> = {
    chat: 'messages',
    completions: 'prompt',
    embeddings: 'input',
    responses: 'input',
    messages: 'messages',
    other: null,
  }
  for (const [kind, code] of Object.entries(BODY_KINDS)) {
    const field = Object.entries(demanded).find(([name]) => name === kind)?.[1] ?? null
    const answer = lane.scan(Buffer.from('{"model":"m"}'), code, out)
    t.is(answer, field === null ? SCAN.ok : SCAN.missingField, kind)
    if (field !== null) t.is(FIELDS[out[1] ?? -1], field, kind)
  }
})

test('scan names each fault by its code, and the place', t => {
  const lane = laneFor(t)
  const out = new Uint32Array(2 * FIELDS.length)
  const none = 0xffff_ffff
  const cases: readonly (readonly [keyof typeof SCAN, string | Buffer, number, number])[] = [
    ['badJson', '{"model":"m",}', 13, none],
    ['notAnObject', '[1]', 0, none],
    ['wrongType', '{"model":"m","messages":[{}],"n":"two"}', 33, FIELDS.indexOf('n')],
    ['missingField', '{"model":"m"}', 0, FIELDS.indexOf('messages')],
    ['badUtf8', Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]), 2, none],
    ['tooDeep', `{"x":${'['.repeat(5000)}${']'.repeat(5000)}}`, -1, none],
  ]
  for (const [code, body, at, field] of cases) {
    t.is(lane.scan(Buffer.from(body), BODY_KINDS.chat, out), SCAN[code], code)
    if (at >= 0) t.is(out[0], at, `${code}: offset`)
    t.is(out[1], field, `${code}: field`)
  }
  t.is(cases.length, Object.keys(SCAN).length - 1, 'all but ok')
})
