/** Numbers that cross the boundary mean the same on both sides: field order, kinds, codes, columns. */
import test, { type ExecutionContext } from 'ava'
import {
  BODY_KINDS,
  BOOK,
  type BodyKind,
  FIELDS,
  type FieldName,
  type Lane,
  LOAD,
  LOAD_COLUMNS,
  loadNative,
  MAX_SLOTS,
  NO_TICKET,
  OPS,
  OUTCOME,
  type PodRef,
  REFUSED,
  SCAN,
  type SharedState,
  SUMMARY,
  SUMMARY_WORDS,
  slotOf,
} from '#phyllo/data/native.js'

const addon = loadNative()
const WIDTH = 64
let states = 0

function open(t: ExecutionContext): { state: SharedState; lane: Lane; pods: PodRef[] } {
  const name = `codes-${states++}`
  t.teardown(() => addon.SharedState.close(name))
  const state = addon.SharedState.open(name, {
    width: WIDTH,
    breakerFailures: 2,
    breakerCooldownMs: 100,
    breakerLatencyFactor: 0,
    breakerLatencyFloorMs: 0,
    predictedBlocks: 1000,
    predictedTtlMs: 60_000,
    sessions: 100,
    sessionTtlMs: 60_000,
    virtualClock: true,
  })
  const pods = ['a', 'b', 'c'].map(id => state.addPod(id))
  for (const pod of pods) state.activatePod(pod)
  return { state, lane: new addon.Lane(state), pods }
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
  const { lane } = open(t)
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
  const { lane } = open(t)
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
  const { lane } = open(t)
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

const OPS_ALL = OPS.tokenize | OPS.hashBlocks | OPS.matchPrefix

function prepared(state: SharedState, lane: Lane, prompt: string): number {
  const body = Buffer.from(JSON.stringify({ model: 'm', prompt }))
  const fields = new Uint32Array(2 * FIELDS.length)
  lane.scan(body, BODY_KINDS.completions, fields)
  const model = state.addModel('m', { blockSize: 16 })
  return lane.prepare(model, OPS_ALL, BODY_KINDS.completions, body, fields)
}

test('SUMMARY words, cached tokens by slot, ranked pairs', t => {
  const { state, lane, pods } = open(t)
  const [, pod = pods[0]] = pods
  if (pod === undefined) return t.fail()
  // Text-hash fallback: four bytes are a token, so that 1,278 bytes and two quotes are 320 tokens in 20 blocks.
  const ticket = prepared(state, lane, 'x'.repeat(1278))
  const words = new Uint32Array(SUMMARY_WORDS)
  lane.summary(ticket, words)
  t.is(words[SUMMARY.promptTokens], 320)
  t.is(words[SUMMARY.blocks], 20)
  t.is(words[SUMMARY.blockSize], 16)
  t.is(words[SUMMARY.exact], 0)
  t.is(words[SUMMARY.matched], 0)
  const out = new Uint32Array(1)
  t.is(lane.book(ticket, pod, 0, BOOK.learnPrefix, out), pod)
  t.is(out[0], 320, 'all uncached')
  const again = prepared(state, lane, 'x'.repeat(1278))
  lane.summary(again, words)
  t.is(words[SUMMARY.matched], 1)
  const cached = new Uint32Array(WIDTH)
  const best = lane.cachedTokens(again, cached)
  t.true(best > 0 && best <= 320)
  t.deepEqual(
    [...cached].flatMap((tokens, slot) => (tokens > 0 ? [slot, tokens] : [])),
    [slotOf(pod), best],
  )
  const pairs = new Uint32Array(2 * WIDTH)
  t.is(lane.ranked(again, pairs), 1)
  t.deepEqual([...pairs.subarray(0, 2)], [slotOf(pod), best])
})

test('LOAD columns and REFUSED codes, by doing what each stands for', t => {
  const { state, lane, pods } = open(t)
  const [a, b, c] = pods
  if (a === undefined || b === undefined || c === undefined) return t.fail()
  const out = new Uint32Array(1)
  const loads = new Float64Array(LOAD_COLUMNS * WIDTH)
  const column = (name: keyof typeof LOAD, ref: PodRef): number | undefined => {
    t.is(lane.loads(loads), 3)
    return loads[LOAD[name] * WIDTH + slotOf(ref)]
  }
  const book = (ref: PodRef, bound = 0): number => lane.book(NO_TICKET, ref, bound, 0, out)

  const ticket = prepared(state, lane, 'y'.repeat(638))
  t.is(lane.book(ticket, b, 0, 0, out), b)
  t.deepEqual([column('inflight', b), column('pendingTokens', b), column('firstByteMs', b)], [1, 160, 0])
  t.is(book(b, 1), REFUSED.full)
  lane.firstByte(b, 40, 160)
  t.deepEqual([column('inflight', b), column('pendingTokens', b), column('firstByteMs', b)], [1, 0, 40])
  lane.release(b, 0, OUTCOME.ok)
  t.deepEqual([column('inflight', b), column('inflight', a)], [0, 0])

  t.is(column('ready', c), 1)
  t.true(state.cordonPod(c, true))
  t.is(column('ready', c), 0)
  t.is(book(c), REFUSED.cordoned)
  state.removePod(c)
  t.is(book(c), REFUSED.gone)

  t.is(column('breaker', a), 0)
  const end = (outcome: number): void => {
    t.is(book(a), a)
    lane.release(a, 0, outcome)
  }
  end(OUTCOME.failed)
  end(OUTCOME.ok)
  end(OUTCOME.failed)
  end(OUTCOME.cancelled)
  t.is(column('breaker', a), 0, 'a success starts the count anew, a cancelled one does not count')
  end(OUTCOME.failed)
  t.is(column('breaker', a), 1)
  t.is(book(a), REFUSED.circuitOpen)
  state.setTime(state.now() + 100)
  t.is(column('breaker', a), 2)
  t.is(book(a), a)
  t.is(column('breaker', a), 3)
  t.is(book(a), REFUSED.circuitOpen)
  lane.release(a, 0, OUTCOME.ok)
  t.is(column('breaker', a), 0)
})

test('a pod is one number: generation · 1024 + slot', async t => {
  const { state, lane, pods } = open(t)
  t.deepEqual(pods.map(slotOf), [0, 1, 2])
  const [first] = pods
  if (first === undefined) return t.fail()
  const status = new Float64Array(6)
  t.true(state.podStatus(first, status))
  t.deepEqual([...status], [0, 0, 0, 0, 2, 0])
  state.removePod(first)
  state.releasePod(first)
  // Its slot goes to a later pod, once the sweep in the background has cleared it: with all slots taken, it has.
  const later: PodRef[] = []
  while (later.length < WIDTH - 2) later.push(await swept(() => state.addPod(`later-${later.length}`)))
  const next = later.find(ref => slotOf(ref) === slotOf(first))
  if (next === undefined) return t.fail()
  t.is(Number(next), first + MAX_SLOTS)
  state.activatePod(next)
  t.is(lane.book(NO_TICKET, first, 0, 0, new Uint32Array(1)), REFUSED.gone)
})

test('BOOK.claimSession: the first booking of a session keeps it', t => {
  const { lane, pods } = open(t)
  const [a, b] = pods
  if (a === undefined || b === undefined) return t.fail()
  const out = new Uint32Array(1)
  const first = lane.setSession(NO_TICKET, 'session')
  const second = lane.setSession(NO_TICKET, 'session')
  t.is(lane.sessionPod(first), -1)
  t.is(lane.book(first, a, 0, 0, out), a)
  t.is(lane.sessionPod(first), -1, 'only where asked')
  t.is(lane.book(first, a, 0, BOOK.claimSession, out), a)
  t.is(lane.book(second, b, 0, BOOK.claimSession, out), a, 'it had been claimed in between')
  t.is(lane.sessionPod(lane.setSession(NO_TICKET, 'session')), a)
})

/** What the call gives as soon as it no longer throws; five seconds at most. */
async function swept<T>(call: () => T): Promise<T> {
  const deadline = Date.now() + 5_000
  for (;;) {
    try {
      return call()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  }
}
