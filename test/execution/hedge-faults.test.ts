/** Hedges that go wrong, and what is told of them: the request that the first pod serves knows nothing of it. */
import test from 'ava'
import { OUTCOME } from '#phyllo/data/native.js'
import { PhylloError } from '#phyllo/errors.js'
import type { StepInput, StepRequest, Workflow } from '#phyllo/execution/workflow.js'
import { checked, workflow } from '#phyllo/execution/workflow-builder.js'
import { passThrough } from '#phyllo/execution/workflows/single.js'
import {
  answerWith,
  assertClean,
  chunked,
  inOrder,
  lastChunk,
  type Pod,
  type PodRequest,
  RecordingSink,
  startPod,
  startWorker,
  streamHead,
  until,
} from './kit.js'

type T = Parameters<typeof startPod>[0]
const stream = { body: '{"model":"m","stream":true}' }

const hedge = (spend = () => true) => ({ afterMs: () => 20, spend, sample: () => undefined })
const hedged = (request = passThrough, spend?: () => boolean): Workflow =>
  workflow('own')
    .step({
      name: 'serve',
      output: 'relay',
      onFailure: { kind: 'retry', attempts: 3 },
      hedge: hedge(spend),
      request,
    })
    .build()

/** The first pod, which keeps its request until it is told to answer, and others. */
async function slowFirst(t: T, ...others: ((request: PodRequest) => void)[]) {
  const held: PodRequest[] = []
  let isAnswering = false
  const say = ({ socket }: PodRequest): void =>
    void socket.write(Buffer.concat([Buffer.from(streamHead), chunked('first'), Buffer.from(lastChunk)]))
  const first = await startPod(t, request => (isAnswering ? say(request) : void held.push(request)))
  const pods: Pod[] = [first]
  for (const answer of others) pods.push(await startPod(t, answer))
  const origins = pods.map(({ origin }) => origin)
  const worker = startWorker(t, origins, { connections: 1 })
  const answer = (): void => {
    isAnswering = true
    for (const request of held) say(request)
  }
  return { pods, worker, answer }
}

const throwsFor =
  (pod: string, from = 1) =>
  (input: StepInput<never>): StepRequest => {
    if (input.pod.id === pod && --from <= 0) throw new Error('a bug of the transform')
    return passThrough(input)
  }

test('what the request transform throws for the second pod is not the request’s failure', async t => {
  const { pods, worker, answer } = await slowFirst(t, () => undefined)
  const sink = new RecordingSink()
  const over = worker.run(sink, { ...stream, workflow: hedged(throwsFor('pod-1')) })
  await until(t, () => worker.hedges.includes('failed'), 'the hedge has failed')
  answer()
  t.like(await over, { status: 200, outcome: 'ok' })
  t.is(sink.text, 'first')
  t.is(pods[1]?.requests.length, 0)
  t.deepEqual(worker.hedges, ['sent', 'failed'])
  await assertClean(t, worker)
})

test('what a plugin throws while the second pod is looked for is not the request’s failure', async t => {
  const { worker, answer } = await slowFirst(t, () => undefined)
  let selections = 0
  const profile = {
    ...inOrder,
    select: ((...given) => {
      if (++selections > 1) throw new PhylloError('overloaded', 'no second tries')
      return inOrder.select(...given)
    }) satisfies typeof inOrder.select,
  }
  const sink = new RecordingSink()
  const over = worker.run(sink, { ...stream, workflow: hedged(), profile })
  await until(t, () => worker.hedges.length > 0, 'it was time for a hedge')
  answer()
  t.like(await over, { status: 200, outcome: 'ok' })
  t.deepEqual(worker.hedges, ['no_pod'])
  await assertClean(t, worker)
})

test('what the transform throws when the second pod’s stale connection is replaced is not the request’s failure', async t => {
  const { pods, worker, answer } = await slowFirst(t, ({ socket, nth }) => {
    if (nth === 1) socket.write(answerWith(200, '{}'))
    else socket.resetAndDestroy()
  })
  const reversed = {
    ...inOrder,
    select: ((_, pool, ranking) => {
      ranking.clear()
      for (let i = pool.length; i > 0; i--) ranking.push(pool.slots[i - 1] ?? 0)
      return 'picked'
    }) satisfies typeof inOrder.select,
  }
  await worker.run(new RecordingSink(), { profile: reversed })
  t.is(pods[1]?.requests.length, 1)
  const sink = new RecordingSink()
  const over = worker.run(sink, { ...stream, workflow: hedged(throwsFor('pod-1', 2)) })
  await until(t, () => worker.hedges.includes('failed'), 'the hedge has failed')
  answer()
  t.like(await over, { status: 200, outcome: 'ok' })
  t.is(sink.text, 'first')
  t.deepEqual(worker.hedges, ['sent', 'failed'])
  await assertClean(t, worker)
})

test('of two copies it is the one that throws in its first pod that is given up, and the other answers', async t => {
  // The first pod's connection is stale by the time that the hedge is out.
  const first = await startPod(t, ({ socket, nth }) => {
    if (nth === 1) socket.write(answerWith(200, '{}'))
    else setTimeout(() => socket.resetAndDestroy(), 60)
  })
  let late: PodRequest | undefined
  const second = await startPod(t, request => {
    late = request
  })
  const worker = startWorker(t, [first.origin, second.origin], { connections: 1 })
  await worker.run(new RecordingSink(), {})
  const sink = new RecordingSink()
  const over = worker.run(sink, { ...stream, workflow: hedged(throwsFor('pod-0', 2)) })
  await until(t, () => late !== undefined && worker.steps.length > 0, 'the first has thrown')
  late?.socket.write(answerWith(200, '{"from":"second"}'))
  t.like(await over, { status: 200, outcome: 'ok' })
  t.is(sink.text, '{"from":"second"}')
  t.deepEqual(worker.hedges, ['sent', 'won'])
  await assertClean(t, worker)
})

test('a transform that asks for its own step’s pod is told the pod that it goes to, on both', async t => {
  const { pods, worker, answer } = await slowFirst(t, () => undefined)
  const named: string[] = []
  const own = workflow('own')
    .step({
      name: 'serve',
      output: 'relay',
      onFailure: { kind: 'fail' },
      hedge: hedge(),
      request(input) {
        named.push(input.podOf('serve').id)
        return passThrough(input)
      },
    })
    .build()
  const over = worker.run(new RecordingSink(), { ...stream, workflow: own })
  await until(t, () => pods[1]?.requests.length === 1, 'the second is asked')
  answer()
  t.like(await over, { status: 200 })
  t.deepEqual(named, ['pod-0', 'pod-1'])
  await assertClean(t, worker)
})

test('hedges are told of: won, lost, failed, refused by the budget, and without a pod', async t => {
  const told = async (
    second: ((request: PodRequest) => void) | undefined,
    isFirst: boolean,
    spend?: () => boolean,
  ) => {
    const { pods, worker, answer } = await slowFirst(t, ...(second === undefined ? [] : [second]))
    const over = worker.run(new RecordingSink(), { ...stream, workflow: hedged(passThrough, spend) })
    await until(t, () => worker.hedges.length > 0, 'it was time')
    if (worker.hedges.includes('sent')) await until(t, () => pods[1]?.requests.length === 1, 'it has come')
    if (isFirst) answer()
    t.like(await over, { status: 200 })
    await assertClean(t, worker)
    return worker.hedges
  }
  const quick = ({ socket }: PodRequest) => void socket.write(answerWith(200, '{}'))
  t.deepEqual(await told(quick, false), ['sent', 'won'])
  t.deepEqual(await told(() => undefined, true), ['sent', 'lost'])
  t.deepEqual(await told(quick, true, () => false), ['refused'])
  t.deepEqual(await told(undefined, true), ['no_pod'])
  let failed: PodRequest | undefined
  const { worker, answer } = await slowFirst(t, request => {
    failed = request
    request.socket.write(answerWith(503, '{}'))
  })
  const over = worker.run(new RecordingSink(), { ...stream, workflow: hedged() })
  await until(t, () => failed !== undefined && worker.hedges.length === 2, 'it has failed')
  answer()
  t.like(await over, { status: 200 })
  t.deepEqual(worker.hedges, ['sent', 'failed'])
  await assertClean(t, worker)
})

test('the loser’s socket, booking and leg are gone while the winner’s answer is still under way', async t => {
  let second: PodRequest | undefined
  const { pods, worker } = await slowFirst(t, request => {
    second = request
    request.socket.write(streamHead)
    request.socket.write(chunked('half'))
  })
  const sink = new RecordingSink()
  const over = worker.run(sink, { ...stream, workflow: hedged() })
  await until(t, () => sink.text === 'half', 'the second answers')
  await until(t, () => pods[0]?.sockets.size === 0, 'the first pod sees the end of its connection')
  const [loser, winner] = worker.infos.map(({ ref }) => worker.lane.inflight.get(ref))
  t.deepEqual([loser, winner], [0, 1])
  t.deepEqual(worker.lane.outcomes, [{ ref: worker.infos[0]?.ref ?? -1, outcome: OUTCOME.cancelled }])
  second?.socket.write(Buffer.concat([chunked(' whole'), Buffer.from(lastChunk)]))
  t.like(await over, { status: 200, outcome: 'ok' })
  t.is(sink.text, 'half whole')
  await assertClean(t, worker)
})

const onFailure = { kind: 'fail' } as const
const relay = { name: 'serve', output: 'relay', onFailure, request: passThrough } as const
const refused: [string, Omit<Workflow, 'name'>, RegExp][] = [
  [
    'keeps its answer',
    { stages: [{ steps: [{ ...relay, name: 'a', output: 'keep', hedge: hedge() }] }, { steps: [relay] }] },
    /workflow 'w': step 'a' can't be hedged: its answer is for later steps \(output: keep\), and only one that relays its answer can be/,
  ],
  [
    'is read away',
    { stages: [{ steps: [{ ...relay, name: 'a', output: 'drain', hedge: hedge() }] }, { steps: [relay] }] },
    /step 'a' can't be hedged: .*output: drain/,
  ],
  [
    'runs beside another',
    {
      stages: [
        {
          steps: [
            { ...relay, name: 'a', output: 'drain' },
            { ...relay, hedge: hedge() },
          ],
        },
      ],
    },
    /step 'serve' can't be hedged: it runs beside another/,
  ],
  [
    'is picked ahead',
    { stages: [{ steps: [{ ...relay, hedge: hedge() }] }], picksAhead: true },
    /step 'serve' can't be hedged: the workflow picks its pods ahead/,
  ],
  [
    'takes what can be taken once',
    {
      stages: [
        { steps: [{ ...relay, name: 'a', output: 'keep' }] },
        { steps: [{ ...relay, hedge: hedge() }], restartAt: 0 },
      ],
    },
    /step 'serve' can't be hedged: it begins again at an earlier step/,
  ],
]
for (const [name, given, message] of refused) {
  test(`a hedge on a step that ${name} is refused when the workflow is built`, t => {
    t.throws(() => checked({ name: 'w', ...given }), { message })
  })
}

test('a hedge on a step behind others that hand nothing over is taken', t => {
  const stages = [
    { steps: [{ ...relay, name: 'a', output: 'keep' } as const] },
    { steps: [{ ...relay, hedge: hedge() }] },
  ]
  t.notThrows(() => checked({ name: 'w', stages }))
})
