/** What is not gone on with, and what fails while it is. */
import test, { type ExecutionContext } from 'ava'
import { isTicket, OUTCOME } from '#phyllo/data/native.js'
import { Trace } from '#phyllo/decision/trace.js'
import { PhylloError } from '#phyllo/errors.js'
import { fieldIn } from '#phyllo/execution/hand-off/fault.js'
import { continuationOf, lessened } from '#phyllo/execution/resume/continuation.js'
import type { SelectingProfile } from '#phyllo/execution/selector.js'
import type { Workflow } from '#phyllo/execution/workflow.js'
import { singleWorkflow } from '#phyllo/execution/workflows/single.js'
import {
  answerWith,
  assertClean,
  chunked,
  inOrder,
  RecordingSink,
  sleep,
  startPod,
  startWorker,
  streamHead,
  until,
} from './kit.js'
import { ANSWER, type Asked, askFor, BREAK, hear, PIECES, PROMPT_TOKENS, talkingPod } from './kit-resume.js'

const COUNTED = { stream_options: { include_usage: true, continuous_usage_stats: true } }
/** All that were made, so that in the end none holds memory of any request. */
const made: Workflow[] = []
const whole = singleWorkflow({ resume: {} }).resume?.room.left

function resuming(given: object = {}): Workflow {
  const workflow = singleWorkflow({ resume: given })
  made.push(workflow)
  return workflow
}

test.after('nothing that was kept is held', t => {
  t.true(made.length > 40)
  for (const { resume } of made) t.is(resume?.room.left, whole)
})

/** A pod that says the role and `pieces` pieces, then breaks off; and one that is well. */
async function twoPods(t: ExecutionContext, pieces = 2, change = (event: string) => event) {
  const more = (events: string[]) => [...events.slice(0, pieces + 1).map(change), BREAK]
  const first = await talkingPod(t, 0, () => undefined, { more })
  const second = await talkingPod(t, 1, () => undefined)
  const worker = startWorker(t, [first.origin, second.origin])
  return { first, second, worker }
}

const givenOf = (asked: Asked) => ({
  kind: asked.kind,
  path: asked.kind === 'chat' ? '/v1/chat/completions' : '/v1/completions',
  body: askFor(asked),
})

/** Fields of a request with which nobody goes on. */
const unfit: readonly (readonly [string, Asked])[] = [
  ['n', { kind: 'chat', fields: { n: 2 } }],
  ['best_of', { kind: 'chat', fields: { best_of: 2 } }],
  ['tools', { kind: 'chat', fields: { tools: [{ type: 'function', function: { name: 'f' } }] } }],
  ['logprobs', { kind: 'chat', fields: { logprobs: true } }],
  ['completion logprobs', { kind: 'completions', fields: { ...COUNTED, logprobs: 0 } }],
  ['prompt_logprobs', { kind: 'chat', fields: { prompt_logprobs: 1 } }],
  ['response_format', { kind: 'chat', fields: { response_format: { type: 'json_object' } } }],
  ['guided_json', { kind: 'chat', fields: { guided_json: {} } }],
  ['structured_outputs', { kind: 'chat', fields: { structured_outputs: { regex: 'a' } } }],
  ['seed', { kind: 'chat', fields: { seed: 1 } }],
  ['frequency_penalty', { kind: 'chat', fields: { frequency_penalty: 0.5 } }],
  ['audio', { kind: 'chat', fields: { modalities: ['text', 'audio'] } }],
  ['echo', { kind: 'completions', fields: { ...COUNTED, echo: true } }],
  ['suffix', { kind: 'completions', fields: { ...COUNTED, suffix: 'x' } }],
  ['echo of a chat', { kind: 'chat', fields: { echo: true } }],
  ['hidden reasoning', { kind: 'chat', fields: { include_reasoning: false } }],
  ['max_tokens that nobody counted', { kind: 'chat', fields: { max_tokens: 50 } }],
  ['usage that nobody counted', { kind: 'chat', fields: { stream_options: { include_usage: true } } }],
  ['completion without a limit', { kind: 'completions', fields: { ...COUNTED, max_tokens: null } }],
]

test('requests that can not be gone on with end with an error event', async t => {
  const { worker, second } = await twoPods(t)
  for (const [name, asked] of unfit) {
    const sink = new RecordingSink()
    const record = await worker.run(sink, { ...givenOf(asked), workflow: resuming() })
    const heard = hear(sink.text)
    t.like(record, { status: 200, outcome: 'failed' }, name)
    t.is(record.error?.code, 'pod_closed_early', name)
    t.deepEqual([heard.errors.length, heard.dones], [1, 0], name)
    t.true(heard.text.length > 0 && ANSWER.startsWith(heard.text), name)
  }
  t.is(second.requests.length, 0)
  t.deepEqual(
    worker.resumes,
    unfit.map(() => 'unfit'),
  )
  await assertClean(t, worker)
})

/** What a stream has in it that nobody goes on with. */
const unfitAnswers: readonly (readonly [string, (event: string) => string])[] = [
  ['a tool call', event => event.replace('"content":" upon', '"tool_calls":[{"index":0}],"content":" upon')],
  ['reasoning', event => event.replace('"content":" upon', '"reasoning_content":"hm","content":" upon')],
  ['thinking in the text', event => event.replace('"content":"Once', '"content":"<think>Once')],
  ['logprobs', event => event.replace('"logprobs":null', '"logprobs":{"content":[]}')],
  ['a second answer', event => event.replace('"index":0', '"index":1')],
  ['an event that is none', event => event.replace('"choices"', '"chances"')],
  ['an event that is no JSON', event => event.replace('"choices"', '"chances')],
]

for (const [name, change] of unfitAnswers) {
  test(`an answer with ${name} ends with an error event`, async t => {
    const { worker, second } = await twoPods(t, 2, change)
    const sink = new RecordingSink()
    const record = await worker.run(sink, { ...givenOf({ kind: 'chat' }), workflow: resuming() })
    t.like(record, { status: 200, outcome: 'failed' })
    t.regex(sink.text, /\n\nevent: error\ndata: \{"error":\{.*"code":"pod_closed_early"\}\}\n\n$/)
    t.is(second.requests.length, 0)
    t.deepEqual(worker.resumes, ['unfit'])
    await assertClean(t, worker)
  })
}

test('requests that are no beginning of another', t => {
  const messages = [{ role: 'user', content: 'a' }]
  const chat = (fields: object) =>
    continuationOf(Buffer.from(JSON.stringify({ messages, ...fields })), 'chat', 'so far')
  const text = (fields: object) =>
    continuationOf(Buffer.from(JSON.stringify(fields)), 'completions', 'so far')
  t.is(typeof chat({}), 'object')
  t.regex(
    String(chat({ continue_final_message: true, add_generation_prompt: false })),
    /^continue_final_message: /,
  )
  t.regex(String(chat({ add_generation_prompt: false })), /^add_generation_prompt: /)
  // SGLang would take it for the user's, and no longer where another one follows.
  t.regex(String(chat({ messages: [...messages, { role: 'assistant', content: 'b' }] })), /^messages: /)
  t.regex(String(chat({ messages: [] })), /^messages: /)
  t.regex(String(text({ prompt: [1, 2], max_tokens: 5 })), /^prompt: /)
  t.regex(String(text({ prompt: ['a'], max_tokens: 5 })), /^prompt: /)
  t.regex(String(text({ max_tokens: 5 })), /^prompt: /)
  t.is(typeof text({ prompt: 'a', max_tokens: 5 }), 'object')
})

test('limits are lessened by what was said, and a limit that is reached is told', t => {
  const of = (fields: object, tokens: number) =>
    lessened(Buffer.from(JSON.stringify(fields)), tokens)?.toString()
  t.is(of({ max_tokens: 5, min_tokens: 3, a: 1 }, 4), '{"max_tokens":1,"min_tokens":0,"a":1}')
  t.is(of({ max_tokens: null, max_completion_tokens: 9 }, 4), '{"max_tokens":null,"max_completion_tokens":5}')
  t.is(of({ max_tokens: 5 }, 5), undefined)
  t.is(of({ a: 1 }, 5), '{"a":1}')
})

test('what is harmless is gone on with', async t => {
  const { worker } = await twoPods(t)
  const fields = {
    n: 1,
    tools: [],
    logprobs: false,
    seed: 1,
    temperature: 0,
    stop: ['zzz'],
    response_format: { type: 'text' },
    presence_penalty: 0,
    echo: null,
  }
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { ...givenOf({ kind: 'chat', fields }), workflow: resuming() }), {
    outcome: 'ok',
  })
  t.is(hear(sink.text).text, ANSWER)
  await assertClean(t, worker)
})

test('streams and requests longer than what is kept end with an error event', async t => {
  const { worker, second } = await twoPods(t, 2, event =>
    event.replace('"created"', `"pad":"${'x'.repeat(3000)}","created"`),
  )
  for (const pad of [10, 5000]) {
    const sink = new RecordingSink()
    const asked: Asked = { kind: 'chat', fields: { pad: 'x'.repeat(pad) } }
    const record = await worker.run(sink, { ...givenOf(asked), workflow: resuming({ maxBytes: 4096 }) })
    t.like(record, { status: 200, outcome: 'failed' })
    t.is(hear(sink.text).errors.length, 1)
  }
  t.is(second.requests.length, 0)
  // The second was never kept at all.
  t.deepEqual(worker.resumes, ['unfit'])
  await assertClean(t, worker)
})

test('an event too long to be held back goes out in pieces, and is not gone on with', async t => {
  const long = `data: {"choices":[{"index":0,"delta":{"content":"${'y'.repeat(600_000)}"}}]}\n\n`
  const first = await startPod(t, ({ socket }) => {
    socket.write(streamHead)
    socket.end(chunked(long))
  })
  const worker = startWorker(t, [first.origin])
  const sink = new RecordingSink()
  const record = await worker.run(sink, { ...givenOf({ kind: 'chat' }), workflow: resuming() })
  t.like(record, { status: 200, outcome: 'failed' })
  t.true(sink.text.startsWith(long))
  t.deepEqual(worker.resumes, ['unfit'])
  await assertClean(t, worker)
})

test('other answers than streams are relayed as without', async t => {
  const pod = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"ok":true}')))
  const bad = await startPod(t, ({ socket }) => socket.write(answerWith(400, '{"error":"no"}')))
  for (const [{ origin }, status] of [
    [pod, 200],
    [bad, 400],
  ] as const) {
    const worker = startWorker(t, [origin])
    const sink = new RecordingSink()
    t.like(await worker.run(sink, { ...givenOf({ kind: 'chat' }), workflow: resuming() }), { status })
    t.is(sink.writes, 0, 'in one send')
    t.is(sink.text, status === 200 ? '{"ok":true}' : '{"error":"no"}')
    await assertClean(t, worker)
  }
})

test("a pod that refuses to go on: its reason is the stream's error event", async t => {
  const { first, worker } = await twoPods(t)
  const refusing = await startPod(t, ({ socket }) => socket.write(answerWith(400, '{"error":"not with me"}')))
  const other = startWorker(t, [first.origin, refusing.origin])
  const sink = new RecordingSink()
  const record = await other.run(sink, { ...givenOf({ kind: 'chat' }), workflow: resuming() })
  t.like(record, { status: 200, outcome: 'failed' })
  const heard = hear(sink.text)
  t.deepEqual([heard.text, heard.dones], [PIECES.slice(0, 2).join(''), 0])
  t.like(heard.errors, [{ error: { code: 'pod_error' } }])
  t.regex(
    String(fieldIn(fieldIn(heard.errors[0], 'error'), 'message')),
    /pod-1 did not go on .* 400: .*not with me/,
  )
  t.deepEqual(other.resumes, ['failed'])
  await assertClean(t, other)
  await assertClean(t, worker)
})

test('a refusal in the shape of a stream, which breaks off: nobody else is asked, nor unheard', async t => {
  const { first, second } = await twoPods(t)
  const refusing = await startPod(t, ({ socket }) => {
    socket.write(streamHead.replace('200 OK', '400 Bad Request'))
    socket.end(chunked('{"detail":"not with me"}'))
  })
  const worker = startWorker(t, [first.origin, refusing.origin, second.origin])
  const sink = new RecordingSink()
  const workflow = resuming({ attempts: 2 })
  const record = await worker.run(sink, { ...givenOf({ kind: 'chat' }), workflow })
  t.like(record, { status: 200, outcome: 'failed' })
  const heard = hear(sink.text)
  t.is(heard.text, PIECES.slice(0, 2).join(''))
  t.like(heard.errors, [{ error: { code: 'pod_error' } }])
  t.regex(JSON.stringify(heard.errors), /status 400: .*not with me/)
  t.is(second.requests.length, 0)
  await assertClean(t, worker)
})

test('a pod that fails before it goes on: the next one does; none left: an error event', async t => {
  const { first, second } = await twoPods(t)
  const failing = await startPod(t, ({ socket }) => socket.write(answerWith(503, '{}')))
  const worker = startWorker(t, [first.origin, failing.origin, second.origin])
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { ...givenOf({ kind: 'chat' }), workflow: resuming() }), { outcome: 'ok' })
  t.is(hear(sink.text).text, ANSWER)
  t.deepEqual(worker.retries, ['pod_closed_early', 'pod_error'])

  const alone = startWorker(t, [first.origin])
  const lonely = new RecordingSink()
  t.like(await alone.run(lonely, { ...givenOf({ kind: 'chat' }), workflow: resuming() }), {
    status: 200,
    outcome: 'failed',
  })
  t.like(hear(lonely.text).errors, [{ error: { code: 'no_pod' } }])
  t.deepEqual(alone.resumes, ['failed'])
  await assertClean(t, worker)
  await assertClean(t, alone)
})

test('a second break: by attempts gone on with, or an error event', async t => {
  const { first, second } = await twoPods(t)
  const middle = await talkingPod(t, 1, () => undefined, { more: events => [...events.slice(0, 3), BREAK] })
  for (const attempts of [1, 2]) {
    const worker = startWorker(t, [first.origin, middle.origin, second.origin])
    const sink = new RecordingSink()
    const asked: Asked = { kind: 'chat', fields: COUNTED }
    const record = await worker.run(sink, { ...givenOf(asked), workflow: resuming({ attempts }) })
    const heard = hear(sink.text)
    t.is(record.outcome, attempts === 1 ? 'failed' : 'ok')
    t.is(heard.text, attempts === 1 ? PIECES.slice(0, 4).join('') : ANSWER)
    t.deepEqual([heard.dones, heard.errors.length], attempts === 1 ? [0, 1] : [1, 0])
    t.deepEqual(worker.resumes, [attempts === 1 ? 'failed' : 'resumed'])
    if (attempts === 2)
      t.like(heard.events.at(-1), {
        id: 'id-0',
        usage: { prompt_tokens: PROMPT_TOKENS, completion_tokens: PIECES.length },
      })
    await assertClean(t, worker)
  }
})

test('a client that leaves in the resumed part frees all', async t => {
  const { first } = await twoPods(t)
  const silent = await startPod(t, ({ socket }) => {
    socket.write(streamHead)
    socket.write(chunked('data: {"choices":[{"index":0,"delta":{"content":"more"}}]}\n\n'))
  })
  const worker = startWorker(t, [first.origin, silent.origin])
  const sink = new RecordingSink()
  const done = worker.run(sink, { ...givenOf({ kind: 'chat' }), workflow: resuming() })
  await until(t, () => sink.text.includes('more'), 'the resumed part has begun')
  sink.leave()
  t.like(await done, { status: 200, outcome: 'cancelled' })
  await until(t, () => silent.sockets.size === 0, "the second pod's connection is closed")
  t.deepEqual(worker.resumes, ['cancelled'])
  await assertClean(t, worker)
})

/** Prepares a request that goes on as long prompts are, on another thread, until the promise settles. */
const inTime = (pending: () => Promise<void>): SelectingProfile => ({
  ...inOrder,
  prepare: ({ body }) => (body.includes('continue_final_message') ? pending() : undefined),
})

test('a request that goes on is prepared on another thread: it ends, fails there, or its client leaves', async t => {
  const { worker, second } = await twoPods(t)
  const run = async (pending: () => Promise<void>) => {
    const sink = new RecordingSink()
    const profile = inTime(pending)
    const record = await worker.run(sink, { ...givenOf({ kind: 'chat' }), profile, workflow: resuming() })
    return { record, heard: hear(sink.text) }
  }
  t.is((await run(() => sleep(5))).heard.text, ANSWER)
  const failed = await run(() => Promise.reject(new PhylloError('template_error', 'no such role')))
  t.like(failed.record, { status: 200, outcome: 'failed' })
  t.like(failed.heard.errors, [{ error: { code: 'template_error' } }])

  const leaving = new RecordingSink()
  let go = (): void => undefined
  const pending = new Promise<void>(resolve => {
    go = resolve
  })
  let asked = false
  const profile = inTime(() => {
    asked = true
    return pending
  })
  const done = worker.run(leaving, { ...givenOf({ kind: 'chat' }), profile, workflow: resuming() })
  await until(t, () => asked, 'it is being prepared')
  leaving.leave()
  t.like(await done, { status: 200, outcome: 'cancelled' })
  t.is(worker.contexts.inUse, 1, 'the other thread reads its body')
  go()
  t.deepEqual(worker.resumes, ['resumed', 'failed', 'cancelled'])
  t.is(second.requests.length, 1)
  await assertClean(t, worker)
})

test('a shutdown ends streams, be they resumed or not', async t => {
  const { first } = await twoPods(t)
  const silent = await startPod(t, ({ socket }) => socket.write(streamHead))
  const worker = startWorker(t, [first.origin, silent.origin])
  const sink = new RecordingSink()
  const done = worker.run(sink, { ...givenOf({ kind: 'chat' }), workflow: resuming() })
  await until(t, () => silent.requests.length === 1, 'the second pod is asked')
  worker.executor.cutOff()
  t.like(await done, { status: 200, outcome: 'failed' })
  t.like(hear(sink.text).errors, [{ error: { code: 'shutting_down' } }])
  await assertClean(t, worker)
})

for (const code of [500, 400]) {
  test(`an engine that says in its stream that it failed, ${code}: gone on with where the pod is to blame`, async t => {
    const words = `event: error\ndata: {"error":{"message":"EngineCore died","code":${code}}}\n\n`
    const more = (events: string[]) => [...events.slice(0, 3), words, 'data: [DONE]\n\n']
    // In pieces too: what comes behind the error in its own piece must not be lost where nobody goes on.
    const cut = (bytes: Buffer) => [bytes.subarray(0, -9), bytes.subarray(-9)]
    const pods = [
      await talkingPod(t, 0, () => undefined, { more, cut }),
      await talkingPod(t, 1, () => undefined),
    ]
    const worker = startWorker(
      t,
      pods.map(({ origin }) => origin),
    )
    const sink = new RecordingSink()
    await worker.run(sink, { ...givenOf({ kind: 'chat' }), workflow: resuming() })
    if (code === 500) t.is(hear(sink.text).text, ANSWER)
    else t.true(sink.text.endsWith(`${words}data: [DONE]\n\n`), 'as it came')
    t.deepEqual(worker.retries, code === 500 ? ['pod_error'] : [])
    t.deepEqual(worker.resumes, code === 500 ? ['resumed'] : [])

    const plain = new RecordingSink()
    const asked: Asked = { kind: 'chat', fields: { n: 2 } }
    await worker.run(plain, { ...givenOf(asked), workflow: resuming() })
    t.true(plain.text.endsWith(`${words}data: [DONE]\n\n`), 'as it came where nobody goes on')
    await assertClean(t, worker)
  })
}

test('an engine that says in a stream of one piece and of known length that it failed counts as failed', async t => {
  const said = 'data: {"id":"a","choices":[{"index":0,"delta":{"role":"assistant","content":"Once"}}]}\n\n'
  const words = 'data: {"error":{"message":"EngineCore died","code":500}}\n\n'
  const first = await startPod(t, ({ socket }) => {
    const body = said + words
    socket.write(
      `HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
  })
  const second = await talkingPod(t, 1, () => undefined)
  const worker = startWorker(t, [first.origin, second.origin])
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { ...givenOf({ kind: 'chat' }), workflow: resuming() }), { outcome: 'ok' })
  t.is(hear(sink.text).text, ANSWER)
  t.deepEqual(
    worker.lane.outcomes.map(({ outcome }) => outcome),
    [OUTCOME.failed, OUTCOME.ok],
  )
  await assertClean(t, worker)
})

test('a slow client: the second pod waits for it too', async t => {
  const { worker } = await twoPods(t)
  const sink = new RecordingSink(() => false)
  const done = worker.run(sink, { ...givenOf({ kind: 'chat' }), workflow: resuming() })
  const timer = setInterval(() => sink.drain(), 1)
  t.like(await done, { outcome: 'ok' })
  clearInterval(timer)
  t.is(sink.pushed, 0)
  t.is(hear(sink.text).text, ANSWER)
  await assertClean(t, worker)
})

/** Prepares as a model's tokenizer would: a ticket for each body, and its tokens, which are those of the text so far. */
function counting(worker: { lane: { promptTokens: number } }, exact = true): SelectingProfile {
  let tickets = 0
  return {
    ...inOrder,
    prepare(ctx) {
      const ticket = ++tickets
      if (isTicket(ticket)) ctx.ticket = ticket
      const said = exact && ctx.body.includes('continue_final_message') ? 2 : 0
      worker.lane.promptTokens = PROMPT_TOKENS + said
    },
  }
}

test("tokens are counted by the model's tokenizer where the engine does not", async t => {
  for (const isCounted of [true, false]) {
    const { worker, second } = await twoPods(t)
    const profile = counting(worker, isCounted)
    const fields = { max_tokens: 4, stream_options: { include_usage: true } }
    const sink = new RecordingSink()
    const record = await worker.run(sink, {
      ...givenOf({ kind: 'chat', fields }),
      profile,
      workflow: resuming(),
    })
    const heard = hear(sink.text)
    if (isCounted) {
      t.is(record.outcome, 'ok')
      t.is(heard.text, PIECES.slice(0, 4).join(''))
      t.like(heard.events.at(-1), {
        usage: { prompt_tokens: PROMPT_TOKENS, completion_tokens: 4, total_tokens: PROMPT_TOKENS + 4 },
      })
      t.is(JSON.parse(String(second.requests[0]?.body)).max_tokens, 2)
    } else {
      t.is(record.outcome, 'failed')
      t.is(heard.errors.length, 1)
      t.is(second.requests.length, 0)
    }
    await assertClean(t, worker)
  }
})

test("what a pod of other files has said is not counted by the model's own tokenizer", async t => {
  const { worker, second } = await twoPods(t)
  const [talking] = worker.infos
  if (talking !== undefined) Object.assign(talking, { variant: 'm-of-other-files' })
  const sink = new RecordingSink()
  const given = givenOf({ kind: 'chat', fields: { max_tokens: 4 } })
  const record = await worker.run(sink, { ...given, profile: counting(worker), workflow: resuming() })
  t.like(record, { status: 200, outcome: 'failed' })
  const heard = hear(sink.text)
  t.deepEqual([heard.errors.length, heard.dones], [1, 0])
  t.is(second.requests.length, 0)
  await assertClean(t, worker)
})

test('the decision record tells of it', async t => {
  const { worker } = await twoPods(t)
  const trace = new Trace(worker.pods)
  const prepare: SelectingProfile['prepare'] = ctx => {
    ctx.trace = trace
  }
  const profile: SelectingProfile = { ...inOrder, prepare }
  await worker.run(new RecordingSink(), { ...givenOf({ kind: 'chat' }), profile, workflow: resuming() })
  t.deepEqual(trace.ways, [{ workflow: 'resume', why: 'pod pod-0 broke off after 12 characters' }])
  await assertClean(t, worker)
})
