/** Steps that a workflow can do without: nothing that goes wrong in them is the request's failure, or leaves anything behind. */
import test from 'ava'
import { PhylloError } from '#phyllo/errors.js'
import type { Step } from '#phyllo/execution/workflow.js'
import { checked } from '#phyllo/execution/workflow-builder.js'
import { workflowFor } from '#phyllo/execution/workflows/registry.js'
import { passThrough } from '#phyllo/execution/workflows/single.js'
import {
  answerWith,
  assertClean,
  chunked,
  inOrder,
  lastChunk,
  type PodRequest,
  RecordingSink,
  startPod,
  startWorker,
  streamHead,
  until,
} from './kit.js'

const body = '{"model":"m","messages":[]}'
const bug = (): never => {
  throw new Error('a bug')
}

const first = {
  name: 'first',
  output: 'keep',
  onFailure: { kind: 'retry', attempts: 2 },
  request: passThrough,
  suffices: () => 'too_short',
  skip: () => undefined,
} satisfies Step
const serve = {
  name: 'serve',
  output: 'relay',
  onFailure: { kind: 'fail' },
  request: passThrough,
} satisfies Step

const cases: [string, Partial<Step>, string[]][] = [
  ['its request transform', { request: bug }, ['failed']],
  ['its read', { read: bug }, ['failed']],
  ['its judgement', { suffices: bug }, ['unreadable']],
  ['the choice of its pool', { pool: bug }, ['no_pod']],
]
for (const [name, fault, judgements] of cases) {
  test(`what ${name} throws is not the request’s failure`, async t => {
    const pod = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
    const worker = startWorker(t, [pod.origin])
    const sink = new RecordingSink()
    const own = checked({
      name: 'own',
      stages: [{ steps: [{ ...first, ...fault }] }, { steps: [serve] }],
    })
    t.like(await worker.run(sink, { body, workflow: own }), { status: 200, outcome: 'ok' })
    t.is(sink.text, '{"text":"hi"}')
    t.deepEqual(worker.judgements, judgements)
    await assertClean(t, worker)
  })
}

for (const name of ['cascade', 'encode-prefill-decode']) {
  test(`${name}: what a plugin throws while a pod of the first step is looked for is not the request’s failure`, async t => {
    const options = name === 'cascade' ? { first: { model: 'm' } } : {}
    const pod = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"choices":[]}')))
    const handing = await startPod(t, ({ socket }) =>
      socket.write(
        answerWith(
          200,
          '{"kv_transfer_params":{"do_remote_prefill":true,"remote_engine_id":"p","remote_block_ids":[],"remote_host":"h","remote_port":5600}}',
        ),
      ),
    )
    const roles = name === 'cascade' ? [] : (['decode', 'prefill', 'encode'] as const)
    const worker = startWorker(t, [pod.origin, handing.origin, pod.origin], { roles })
    let selections = 0
    const profile = {
      ...inOrder,
      select: ((...given) => {
        if (++selections === 1) throw new PhylloError('overloaded', 'not now')
        return inOrder.select(...given)
      }) satisfies typeof inOrder.select,
    }
    const media = '{"model":"m","messages":[{"content":[{"type":"image_url"}]}]}'
    const sink = new RecordingSink()
    const asked = { body: media, profile, workflow: workflowFor({ name, options }) }
    t.like(await worker.run(sink, asked), { status: 200, outcome: 'ok' })
    await assertClean(t, worker)
  })
}

test('answers that may be the client’s are told of once: good enough, why not, failed, no pod', async t => {
  const told = async (small: string | undefined, escalate: Record<string, unknown> = {}) => {
    const cheap = await startPod(t, ({ socket }) => void socket.write(small ?? answerWith(503, '{}')))
    const large = await startPod(t, ({ socket }) => void socket.write(answerWith(200, '{}')))
    const worker = startWorker(t, [cheap.origin, large.origin], { models: [['small'], ['m']] })
    const cascade = workflowFor({ name: 'cascade', options: { first: { model: 'small' }, escalate } })
    t.like(await worker.run(new RecordingSink(), { body, workflow: cascade }), { status: 200 })
    await assertClean(t, worker)
    return worker.judgements
  }
  const said = (choice: object): string => answerWith(200, JSON.stringify({ choices: [choice] }))
  const text = (content: string, more = {}) => said({ message: { content }, finish_reason: 'stop', ...more })
  const call = { message: { tool_calls: [{ function: { name: 'f', arguments: '{' } }] } }
  t.deepEqual(await told(text('Paris')), ['sufficed'])
  t.deepEqual(await told(text('', { finish_reason: 'content_filter' })), ['finish_reason'])
  t.deepEqual(await told(said({ message: { refusal: 'no' } })), ['refusal'])
  t.deepEqual(await told(said(call)), ['tool_call'])
  t.deepEqual(await told(text('no'), { shorterThan: 9 }), ['too_short'])
  const unsure = { logprobs: { content: [{ logprob: -3 }] } }
  t.deepEqual(await told(text('x', unsure), { meanLogprobBelow: -1 }), ['unsure'])
  t.deepEqual(await told(text('I am sorry'), { matches: ['sorry'] }), ['match'])
  t.deepEqual(await told(answerWith(200, '<html>')), ['unreadable'])
  t.deepEqual(await told(answerWith(400, '{}')), ['failed'])
  t.deepEqual(await told(undefined), ['failed'])
  const large = await startPod(t, ({ socket }) => void socket.write(answerWith(200, '{}')))
  const worker = startWorker(t, [large.origin])
  const cascade = workflowFor({ name: 'cascade', options: { first: { model: 'small' } } })
  t.like(await worker.run(new RecordingSink(), { body, workflow: cascade }), { status: 200 })
  t.deepEqual(worker.judgements, ['no_pod'])
})

test('an answer that would do comes when another one is under way already: the client gets the one that it has', async t => {
  const held: PodRequest[] = []
  const pod = await startPod(t, request => void held.push(request))
  const worker = startWorker(t, [pod.origin])
  const beside = {
    ...serve,
    name: 'first',
    output: 'keep',
    read: () => undefined,
    suffices: () => true,
  } satisfies Step
  const own = checked({ name: 'own', stages: [{ steps: [beside, serve] }] })
  const sink = new RecordingSink()
  const over = worker.run(sink, { body, workflow: own })
  await until(t, () => held.length === 2, 'both are asked')
  const [early, relayed] = held
  relayed?.socket.write(streamHead)
  relayed?.socket.write(chunked('half'))
  await until(t, () => sink.text === 'half', 'the answer has begun')
  early?.socket.write(answerWith(200, '{"text":"hi"}'))
  await until(t, () => worker.steps.includes('first'), 'the other step is done')
  relayed?.socket.write(chunked(' whole'))
  relayed?.socket.write(lastChunk)
  t.like(await over, { status: 200, outcome: 'ok' })
  t.deepEqual([sink.text, sink.begins], ['half whole', 1])
  t.deepEqual(worker.judgements, [])
  await assertClean(t, worker)
})
