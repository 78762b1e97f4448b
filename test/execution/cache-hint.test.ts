/** The cache hint for the pod that a request goes to: asked for only by who wants it, and as it was at the booking. */
import test from 'ava'
import type { CacheHint } from '#phyllo/data/cache-hint.js'
import type { StepInput } from '#phyllo/execution/workflow.js'
import { workflow } from '#phyllo/execution/workflow-builder.js'
import { passThrough } from '#phyllo/execution/workflows/single.js'
import { answerWith, assertClean, RecordingSink, startPod, startWorker } from './kit.js'

/** A workflow whose step asks so many times. */
function asking(times: number, hints: (CacheHint | undefined)[]) {
  const request = (input: StepInput<never>) => {
    for (let i = 0; i < times; i++) hints.push(input.cacheHint())
    return passThrough(input)
  }
  return workflow('asking')
    .step({ name: 'a', output: 'relay', onFailure: { kind: 'retry', attempts: 2 }, request })
    .build()
}

test('a step that asks gets the hint of each pod it goes to, one native call for each', async t => {
  const bad = await startPod(t, ({ socket }) => void socket.write(answerWith(500, '')))
  const good = await startPod(t, ({ socket }) => void socket.write(answerWith(200, '')))
  const worker = startWorker(t, [bad.origin, good.origin])
  worker.lane.promptTokens = 100
  const asked: number[] = []
  const { cacheHint } = worker.lane
  worker.lane.cacheHint = (ticket, ref, out) => {
    asked.push(ref)
    return cacheHint.call(worker.lane, ticket, ref, out)
  }
  const hints: (CacheHint | undefined)[] = []
  await worker.run(new RecordingSink(), { ticket: 3, workflow: asking(2, hints) })
  t.deepEqual(
    asked,
    worker.infos.map(({ ref }) => ref),
  )
  // By now the pod is predicted to hold all 100; at the booking, 7 were not.
  const hint: CacheHint = {
    promptTokens: 100,
    gpuTokens: 0,
    lowerTokens: 0,
    predictedTokens: 93,
    blockSize: 16,
    mode: 'predicted',
  }
  t.deepEqual(hints, [hint, hint, hint, hint])

  await worker.run(new RecordingSink(), { ticket: 3 })
  t.is(asked.length, 2, 'single dispatch does not ask')
  await worker.run(new RecordingSink(), { workflow: asking(1, hints) })
  t.is(hints.at(-1), undefined, 'nothing was prepared')
  await assertClean(t, worker)
})
