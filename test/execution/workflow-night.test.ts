/** What goes wrong late in a workflow: beside an answer under way, in callbacks that nobody above catches, in old workers. */
import test from 'ava'
import { PhylloError } from '#phyllo/errors.js'
import type { SelectingProfile } from '#phyllo/execution/selector.js'
import { deadlineOf, stepsOf } from '#phyllo/execution/workflow.js'
import { workflow } from '#phyllo/execution/workflow-builder.js'
import { describedWorkflow } from '#phyllo/execution/workflows/described/schema.js'
import { executors, workflowFor } from '#phyllo/execution/workflows/registry.js'
import { passThrough } from '#phyllo/execution/workflows/single.js'
import {
  answerWith,
  assertClean,
  chunked,
  deadOrigin,
  inOrder,
  lastChunk,
  type PodRequest,
  RecordingSink,
  startPod,
  startWorker,
  streamHead,
  until,
} from './kit.js'

const params =
  '{"do_remote_prefill":true,"remote_engine_id":"p","remote_block_ids":[[1]],"remote_host":"h","remote_port":5600}'
const handedOff = `{"choices":[],"kv_transfer_params":${params}}`
const nixl = (options = {}) => workflowFor({ name: 'prefill-decode/vllm-nixl', options })
const sglang = (options = {}) => workflowFor({ name: 'prefill-decode/sglang', options })
const body = '{"model":"m","stream":true,"messages":[]}'
const hi = 'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'

test('a prefill whose connection closed beside the answer was sent again without a body, and ended the answer', async t => {
  const held: PodRequest[] = []
  const prefill = await startPod(t, request => {
    // The second one comes over a connection that was used before, so that its end looks like that of an idle one.
    if (request.nth === 1) request.socket.write(answerWith(200, '{}'))
    else held.push(request)
  })
  const decode = await startPod(t, ({ socket, nth }) => {
    socket.write(streamHead)
    socket.write(chunked(hi))
    if (nth === 1) socket.write(lastChunk)
  })
  const worker = startWorker(t, [prefill.origin, decode.origin], {
    roles: ['prefill', 'decode'],
    connections: 1,
  })
  await worker.run(new RecordingSink(), { body, workflow: sglang() })
  await until(t, () => worker.lane.idle, 'the first request over')
  const sink = new RecordingSink()
  const over = worker.run(sink, { body, workflow: sglang() })
  await until(t, () => sink.text === hi && held.length === 1, 'the answer under way')
  held[0]?.socket.resetAndDestroy()
  await until(t, () => prefill.sockets.size === 0, 'the connection gone')
  decode.requests.at(-1)?.socket.write(Buffer.concat([chunked(hi), Buffer.from(lastChunk)]))
  t.like(await over, { status: 200, outcome: 'ok' })
  t.is(sink.text, hi + hi)
  t.is(sink.begins, 1)
  t.is(prefill.requests.length, 2)
  await assertClean(t, worker)
})

/** A profile of which a plugin refuses the client when a second pod is looked for. */
const refusing = (after: number) => {
  let selections = 0
  return {
    ...inOrder,
    select: ((...given) => {
      if (++selections > after) throw new PhylloError('overloaded', 'no second tries')
      return inOrder.select(...given)
    }) satisfies typeof inOrder.select,
  }
}

const events = (text: string): string =>
  answerWith(200, text).replace('application/json', 'text/event-stream')
for (const [name, answer] of [
  ['is past its deadline', ''],
  ['begins its stream with an error', events('data: {"error":{"message":"KV load failed"}}\n\n')],
] as const) {
  test(`a decode pod that ${name}: what a plugin throws for the client while the next is looked for ended the worker`, async t => {
    const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(200, handedOff)))
    const decode = await startPod(t, ({ socket }) => void socket.write(answer))
    const worker = startWorker(t, [prefill.origin, decode.origin, decode.origin], {
      roles: ['prefill', 'decode', 'decode'],
    })
    const sink = new RecordingSink()
    // The choice, prefill and decode select.
    const asked = { body, workflow: nixl({ firstByteTimeoutMs: 1000 }), profile: refusing(3) }
    t.like(await worker.run(sink, asked), { outcome: 'failed' })
    t.is(sink.errorCode, 'overloaded')
    await assertClean(t, worker)
  })
}

test('a step whose read throws ends the request, which had waited for ever', async t => {
  const pod = await startPod(t, ({ socket }) => socket.write(answerWith(200, 'garbage')))
  const worker = startWorker(t, [pod.origin], { requestMs: 5000 })
  const throwing = workflow('throwing')
    .step({
      name: 'ask',
      output: 'keep',
      onFailure: { kind: 'fail' },
      request: passThrough,
      read: ({ body: bytes }) => String(JSON.parse(bytes.toString())),
    })
    .step({ name: 'serve', output: 'relay', onFailure: { kind: 'fail' }, request: passThrough })
    .build()
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { body, workflow: throwing }), { status: 500, outcome: 'failed' })
  t.is(sink.errorCode, 'internal_error')
  await assertClean(t, worker)
})

test('sglang: a request for a hundred million answers was given as many rooms', async t => {
  const pod = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  const worker = startWorker(t, [pod.origin, pod.origin], {
    roles: ['prefill', 'decode'],
    kvTransfer: { connector: 'sglang', bootstrapPort: 8998 },
  })
  t.is(worker.pods.pool('m')?.length, 0)
  const sink = new RecordingSink()
  const many = '{"model":"m","prompt":"hi","n":1025}'
  const asked = { body: many, kind: 'completions', workflow: sglang() } as const
  t.like(await worker.run(sink, asked), { status: 400, outcome: 'failed' })
  t.is(sink.errorCode, 'invalid_request')
  t.is(pod.requests.length, 0)
  await assertClean(t, worker)
})

test('nixl: a decode pod that was never reached left the hand-off, in a worker of any age', async t => {
  const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(200, handedOff)))
  const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const worker = startWorker(t, [prefill.origin, deadOrigin(), decode.origin], {
    roles: ['prefill', 'decode', 'decode'],
    now: () => performance.now() + 3_600_000,
  })
  t.like(await worker.run(new RecordingSink(), { body, workflow: nixl() }), { status: 200 })
  t.is(prefill.requests.length, 1)
  await assertClean(t, worker)
})

test('every prefill/decode workflow keeps the deadline of an answer that comes whole', t => {
  const names = executors.map(({ pluginName }) => pluginName).filter(name => name.includes('prefill-decode'))
  t.true(names.length >= 6)
  for (const name of names) {
    const made = workflowFor({ name, options: { answerTimeoutMs: 1234, prefillTimeoutMs: 1 } })
    const relaying = stepsOf(made).find(({ output }) => output === 'relay')
    const worker = startWorker(t, [])
    const ctx = worker.contexts.take()
    const deadlineMs = relaying === undefined ? 0 : deadlineOf(relaying, ctx)
    t.true(deadlineMs === 1234 || deadlineMs === 1235, `${name}: ${deadlineMs} ms`)
  }
})

test('a workflow of the configuration file has a deadline for an answer that comes whole', t => {
  const own = describedWorkflow.parse({
    steps: [{ name: 'serve', timeoutMs: 20, answerTimeoutMs: 1234 }],
  })
  const [step] = stepsOf(workflowFor({ name: 'own', options: {} }, { own }))
  const ctx = startWorker(t, []).contexts.take()
  const deadlines = [true, false].map(stream => {
    ctx.stream = stream
    return step && deadlineOf(step, ctx)
  })
  t.deepEqual(deadlines, [20, 1234])
})

test('a pod that is picked again when its step starts anew is picked beside the step before it', async t => {
  const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(200, handedOff)))
  const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const worker = startWorker(t, [prefill.origin, deadOrigin(), decode.origin], {
    roles: ['prefill', 'decode', 'decode'],
  })
  const beside: (string | undefined)[] = []
  const profile: SelectingProfile = {
    ...inOrder,
    select(ctx, ...rest) {
      beside.push(ctx.earlierPick?.id)
      return inOrder.select(ctx, ...rest)
    },
  }
  t.like(await worker.run(new RecordingSink(), { body, workflow: nixl(), profile }), { status: 200 })
  // The choice, prefill, decode; decode after a failure, and at its start.
  t.deepEqual(beside, [undefined, 'pod-1', 'pod-0', 'pod-0', 'pod-0'])
  await assertClean(t, worker)
})
