/** The cascade over raw sockets: what the cheap model is asked, which of its answers go to the client, and which do not. */
import test from 'ava'
import fc from 'fast-check'
import { shippedProfiles, stepProfiles } from '#phyllo/decision/profiles/index.js'
import { contentOf } from '#phyllo/execution/answer-content.js'
import { preparedFor } from '#phyllo/execution/route.js'
import { workflowFor } from '#phyllo/execution/workflows/registry.js'
import { single } from '#phyllo/execution/workflows/single.js'
import {
  answerWith,
  assertClean,
  chunked,
  lastChunk,
  RecordingSink,
  startPod,
  startWorker,
  streamHead,
} from './kit.js'

const cascade = (escalate: Record<string, unknown> = {}, first: Record<string, unknown> = {}) =>
  workflowFor({ name: 'cascade', options: { first: { model: 'small', ...first }, escalate } })

const chat = (choice: Record<string, unknown>, n = 1): string =>
  JSON.stringify({ model: 'small', choices: Array.from({ length: n }, (_, index) => ({ index, ...choice })) })
const said = (content: string, more: Record<string, unknown> = {}): string =>
  chat({ message: { role: 'assistant', content }, finish_reason: 'stop', ...more })
const called = (text: string): string =>
  chat({
    message: { content: null, tool_calls: [{ function: { name: 'f', arguments: text } }] },
    finish_reason: 'tool_calls',
  })
const sure = (logprob: number) => ({ logprobs: { content: [{ logprob }, { logprob }] } })

type T = Parameters<typeof startPod>[0]

/** A pod of each model: the cheap one answers as given. */
async function twoModels(t: T, cheap: Parameters<typeof startPod>[1]) {
  const small = await startPod(t, cheap)
  const large = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"from":"large"}')))
  const worker = startWorker(t, [small.origin, large.origin], { models: [['small'], ['m']] })
  return { small, large, worker }
}

const body = '{"unknown":1e400,"model":"m","messages":[{"role":"user","content":"hi"}]}'

const cases: [string, string, Record<string, unknown>, boolean][] = [
  ['an answer', said('Paris is the capital.'), {}, false],
  ['content_filter', said('', { finish_reason: 'content_filter' }), {}, true],
  ['length, by default', said('cut', { finish_reason: 'length' }), {}, false],
  ['length, listed', said('cut', { finish_reason: 'length' }), { finishReasons: ['length'] }, true],
  ['a refusal', chat({ message: { content: null, refusal: 'no' }, finish_reason: 'stop' }), {}, true],
  [
    'a refusal, let through',
    chat({ message: { refusal: 'no' }, finish_reason: 'stop' }),
    { refusals: false },
    false,
  ],
  ['too short', said('Paris'), { shorterThan: 6 }, true],
  ['long enough', said('Paris.'), { shorterThan: 6 }, false],
  ['unsure', said('x', sure(-0.8)), { meanLogprobBelow: -0.7 }, true],
  ['sure', said('x', sure(-0.6)), { meanLogprobBelow: -0.7 }, false],
  ['without logprobs', said('x'), { meanLogprobBelow: -0.7 }, false],
  ['a match', said("I don't know that."), { matches: ["\\bI DON'T KNOW\\b"] }, true],
  ['a tool call', called('{"city":"Paris"}'), { shorterThan: 6 }, false],
  ['a bad tool call', called('{"city":'), {}, true],
  ['a bad tool call, let through', called('{"city":'), { badToolCalls: false }, false],
  [
    'one of two',
    JSON.stringify({
      choices: [
        { index: 0, message: { content: 'long enough' } },
        { index: 1, message: { content: 'no' } },
      ],
    }),
    { shorterThan: 6 },
    true,
  ],
  ['completions', '{"choices":[{"text":"Paris","finish_reason":"stop"}]}', { shorterThan: 6 }, true],
  [
    'responses',
    '{"id":"resp_1","object":"response","status":"incomplete","incomplete_details":{"reason":"max_output_tokens"},"output":[]}',
    { finishReasons: ['length'] },
    true,
  ],
  ['no answer at all', '{"choices":[]}', {}, true],
  ['garbage', '<html>', {}, true],
]
for (const [name, answer, escalate, escalates] of cases) {
  test(`${name}: ${escalates ? 'the model asked for answers' : 'goes to the client unchanged'}`, async t => {
    const { small, large, worker } = await twoModels(t, ({ socket }) =>
      socket.write(answerWith(200, answer, ['x-more: 1'])),
    )
    const sink = new RecordingSink()
    const headers = ['content-type', 'application/json', 'authorization', 'Bearer k', 'accept-encoding', 'br']
    t.like(await worker.run(sink, { body, headers, ticket: 1, workflow: cascade(escalate) }), {
      status: 200,
      outcome: 'ok',
    })
    t.is(small.requests[0]?.body.toString(), body.replace('"m"', '"small"'))
    t.regex(small.requests[0]?.head ?? '', /authorization: Bearer k/)
    t.notRegex(small.requests[0]?.head ?? '', /accept-encoding/)
    t.is(sink.text, escalates ? '{"from":"large"}' : answer)
    t.is(sink.header('x-phyllo-pod'), escalates ? 'pod-1' : 'pod-0')
    t.is(sink.header('x-more'), escalates ? undefined : '1')
    t.is(large.requests.length, escalates ? 1 : 0)
    if (escalates) t.is(large.requests[0]?.body.toString(), body)
    await assertClean(t, worker)
  })
}

const events = (...deltas: Record<string, unknown>[]): string =>
  `${deltas.map(delta => `data: ${JSON.stringify({ choices: [{ index: 0, ...delta }] })}\n\n`).join('')}data: [DONE]\n\n`

test('a stream is judged whole, and is the client’s byte for byte if it will do', async t => {
  const answer = events({ delta: { content: 'Pa' } }, { delta: { content: 'ris' }, finish_reason: 'stop' })
  for (const escalates of [false, true]) {
    const { worker } = await twoModels(t, ({ socket }) => {
      socket.write(streamHead)
      for (const char of answer) socket.write(chunked(char))
      socket.write(lastChunk)
    })
    const sink = new RecordingSink()
    const streaming = body.replace('{', '{"stream":true,')
    await worker.run(sink, { body: streaming, workflow: cascade({ shorterThan: escalates ? 6 : 5 }) })
    t.is(sink.text, escalates ? '{"from":"large"}' : answer)
    if (!escalates) t.regex(sink.header('content-type') ?? '', /^text\/event-stream/)
    await assertClean(t, worker)
  }
})

const faults: [string, Parameters<typeof startPod>[1]][] = [
  ['400', ({ socket }) => void socket.write(answerWith(400, '{"error":"too long"}'))],
  ['429', ({ socket }) => void socket.write(answerWith(429, '{}'))],
  ['503', ({ socket }) => void socket.write(answerWith(503, '{}'))],
  ['reset', ({ socket }) => void socket.resetAndDestroy()],
  ['cut', ({ socket }) => void socket.end('HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{')],
  ['hang', () => undefined],
  [
    'an error in the stream',
    ({ socket }) => {
      socket.write(streamHead)
      socket.write(chunked('data: {"error":{"message":"out of memory"}}\n\n'))
      socket.write(lastChunk)
    },
  ],
]
for (const [name, fault] of faults) {
  test(`a cheap pod that fails (${name}) costs its time and no more`, async t => {
    const { small, large, worker } = await twoModels(t, fault)
    const sink = new RecordingSink()
    t.like(await worker.run(sink, { body, workflow: cascade({}, { timeoutMs: 200 }) }), {
      status: 200,
      outcome: 'ok',
    })
    t.is(sink.text, '{"from":"large"}')
    t.deepEqual([small.requests.length, large.requests.length], [1, 1])
    await assertClean(t, worker)
  })
}

test('without a pod of the cheap model, and for what cannot be judged, the model asked for answers', async t => {
  const large = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"from":"large"}')))
  const worker = startWorker(t, [large.origin])
  t.like(await worker.run(new RecordingSink(), { body, workflow: cascade() }), { status: 200 })
  const { small, worker: both } = await twoModels(t, () => undefined)
  const given = { body, kind: 'embeddings', path: '/v1/embeddings', workflow: cascade() } as const
  t.like(await both.run(new RecordingSink(), given), { status: 200 })
  t.is(small.requests.length, 0)
  for (const one of [worker, both]) await assertClean(t, one)
})

test('a response of the cheap model is noted with its pod, as a relayed one is', async t => {
  const answer = '{"id":"resp_1","object":"response","status":"completed","output":[]}'
  const { worker } = await twoModels(t, ({ socket }) => socket.write(answerWith(200, answer)))
  const noted: [string, number][] = []
  const onResponseId = (id: string, ref: number) => void noted.push([id, ref])
  await worker.run(new RecordingSink(), {
    body,
    kind: 'responses',
    path: '/v1/responses',
    onResponseId,
    workflow: cascade(),
  })
  t.deepEqual(noted, [['resp_1', worker.infos[0]?.ref ?? -1]])
})

test('nothing that was prepared for the model asked for is booked on a pod of the cheap one', async t => {
  const { worker } = await twoModels(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  const tickets: number[] = []
  const { book } = worker.lane
  worker.lane.book = (ticket, ...rest) => {
    tickets.push(ticket)
    return book.call(worker.lane, ticket, ...rest)
  }
  await worker.run(new RecordingSink(), { body, ticket: 7, workflow: cascade() })
  t.deepEqual(tickets, [0, 7])
})

test('a profile that reads the prompt is refused for the cheap model, when the configuration is loaded', t => {
  const all = [...shippedProfiles(single()), ...stepProfiles(single())]
  const profiles = new Map(all.map(profile => [profile.name, profile]))
  const asked = profiles.get('cache-aware')
  if (asked === undefined) return t.fail()
  const bad = preparedFor(asked, cascade({}, { profile: 'prefill' }), profiles)
  t.like(bad, { profile: 'prefill' })
  t.regex('message' in bad ? bad.message : '', /step 'first'.*'small'.*'tokenize'.*least-request/)
  t.false('message' in preparedFor(asked, cascade(), profiles))
  t.throws(() => cascade({ matches: ['('] }), { message: /regular expression/i })
})

test('content is the same whole and in pieces, and no bytes make it throw', t => {
  fc.assert(
    fc.property(fc.array(fc.string(), { minLength: 1, maxLength: 5 }), pieces => {
      const whole = contentOf(Buffer.from(said(pieces.join(''))))
      const stream = events(...pieces.map(content => ({ delta: { content } })), {
        delta: {},
        finish_reason: 'stop',
      })
      const streamed = contentOf(Buffer.from(stream))
      return whole?.[0]?.text === streamed?.[0]?.text && streamed?.[0]?.finishReason === 'stop'
    }),
  )
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), bytes => contentOf(bytes) === undefined))
  fc.assert(
    fc.property(fc.json(), json => {
      contentOf(Buffer.from(json))
      contentOf(Buffer.from(`data: ${json}\n\n`))
      contentOf(Buffer.from(`{"choices":[${json}]}`))
      contentOf(Buffer.from(`{"choices":[{"message":${json},"logprobs":${json}}]}`))
      return true
    }),
  )
  t.pass()
})
