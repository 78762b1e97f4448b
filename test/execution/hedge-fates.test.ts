/** What is told of hedges whose first pod fails too, and hedges whose own code throws. */
import test, { type ExecutionContext } from 'ava'
import type { Hedge } from '#phyllo/execution/workflow.js'
import { workflow } from '#phyllo/execution/workflow-builder.js'
import { passThrough } from '#phyllo/execution/workflows/single.js'
import {
  answerWith,
  assertClean,
  type PodRequest,
  RecordingSink,
  startPod,
  startWorker,
  until,
} from './kit.js'

const stream = { body: '{"model":"m","stream":true}' }
const failing = answerWith(503, '{"error":{}}')
const fine = answerWith(200, '{}')

/** Hedges a request's first pod, and none that comes after. */
function once(spend: Hedge['spend'] = () => true): Hedge {
  let isFirst = true
  return {
    afterMs() {
      const wait = isFirst ? 10 : undefined
      isFirst = false
      return wait
    },
    spend,
    sample: () => undefined,
  }
}

const hedged = (hedge: Hedge, attempts = 3) =>
  workflow('own')
    .step({
      name: 'serve',
      output: 'relay',
      onFailure: { kind: 'retry', attempts },
      hedge,
      request: passThrough,
    })
    .build()

/** Pods that keep their requests, in the order of the pods. */
async function waiting(t: ExecutionContext, count: number) {
  const held: PodRequest[] = []
  const pods = await Promise.all(
    Array.from({ length: count }, (_, i) =>
      startPod(t, request => {
        held[i] = request
      }),
    ),
  )
  const worker = startWorker(
    t,
    pods.map(({ origin }) => origin),
  )
  return { held, worker }
}

test('the first pod fails, then the hedge, and a third one answers: the hedge has failed, and not lost', async t => {
  const { held, worker } = await waiting(t, 3)
  const over = worker.run(new RecordingSink(), { ...stream, workflow: hedged(once()) })
  await until(t, () => held[0] !== undefined && held[1] !== undefined, 'both are asked')
  held[0]?.socket.write(failing)
  await until(t, () => worker.steps.length === 1, 'the first has failed')
  held[1]?.socket.write(failing)
  await until(t, () => held[2] !== undefined, 'the third is asked')
  t.deepEqual(worker.hedges, ['sent', 'failed'])
  held[2]?.socket.write(fine)
  t.like(await over, { status: 200, outcome: 'ok' })
  t.deepEqual(worker.hedges, ['sent', 'failed'])
  await assertClean(t, worker)
})

test('the first pod fails, then the hedge, and no pod is left: the hedge has failed', async t => {
  for (const end of [
    ({ socket }: PodRequest) => void socket.write(failing),
    ({ socket }: PodRequest) => void socket.destroy(),
  ]) {
    const { held, worker } = await waiting(t, 2)
    const over = worker.run(new RecordingSink(), { ...stream, workflow: hedged(once(), 1) })
    await until(t, () => held[0] !== undefined && held[1] !== undefined, 'both are asked')
    held[0]?.socket.write(failing)
    await until(t, () => worker.steps.length === 1, 'the first has failed')
    if (held[1] !== undefined) end(held[1])
    t.like(await over, { outcome: 'failed' })
    t.deepEqual(worker.hedges, ['sent', 'failed'])
    await assertClean(t, worker)
  }
})

test('a budget whose own code throws when it is time refuses the hedge, and ends neither worker nor request', async t => {
  const { held, worker } = await waiting(t, 2)
  const throwing = once(() => {
    throw new Error('a bug of the budget')
  })
  const over = worker.run(new RecordingSink(), { ...stream, workflow: hedged(throwing) })
  await until(t, () => worker.hedges.length > 0 && held[0] !== undefined, 'it was time')
  held[0]?.socket.write(fine)
  t.like(await over, { status: 200, outcome: 'ok' })
  t.deepEqual(worker.hedges, ['refused'])
  t.is(held[1], undefined)
  await assertClean(t, worker)
})
