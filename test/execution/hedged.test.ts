/** Hedged requests over raw sockets: who is asked, when, who answers, and what is given back. */
import test from 'ava'
import fc from 'fast-check'
import { OUTCOME } from '#phyllo/data/native.js'
import { FirstBytes, HedgeBudget } from '#phyllo/execution/workflows/first-bytes.js'
import { workflowFor } from '#phyllo/execution/workflows/registry.js'
import {
  answerWith,
  assertClean,
  chunked,
  lastChunk,
  type PodRequest,
  RecordingSink,
  startPod,
  startWorker,
  streamHead,
  until,
} from './kit.js'

const stream = { body: '{"model":"m","stream":true}' }
const hedged = (options: Record<string, unknown> = {}) =>
  workflowFor({ name: 'hedged', options: { minWaitMs: 30, budget: 1, ...options } })

const says =
  (text: string) =>
  ({ socket }: PodRequest): void => {
    socket.write(streamHead)
    socket.write(chunked(text))
    socket.write(lastChunk)
  }

/** Enough answers for a percentile. */
const WARM = 64

/** A first pod that is quick until told otherwise, and a second one. */
async function twoPods(
  t: Parameters<typeof startPod>[0],
  slow: (request: PodRequest) => void,
  second: (request: PodRequest) => void,
  options: Record<string, unknown> = {},
) {
  let answer = says('first')
  const one = await startPod(t, request => answer(request))
  const two = await startPod(t, second)
  const worker = startWorker(t, [one.origin, two.origin])
  const workflow = hedged(options)
  for (let i = 0; i < WARM; i++) await worker.run(new RecordingSink(), { ...stream, workflow })
  answer = slow
  return { one, two, worker, workflow }
}

test('a silent pod is joined by a second one, whose answer is the client’s; the first is ended, its load freed', async t => {
  const { one, two, worker, workflow } = await twoPods(t, () => undefined, says('second'))
  t.is(two.requests.length, 0)
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { ...stream, workflow }), { status: 200, outcome: 'ok' })
  t.is(sink.text, 'second')
  t.is(sink.header('x-phyllo-pod'), 'pod-1')
  t.deepEqual([one.requests.length, two.requests.length], [WARM + 1, 1])
  await assertClean(t, worker)
  // Its connection is closed: an engine stops what nobody reads.
  await until(t, () => one.sockets.size === 0, 'the slow pod is let go of')
  t.deepEqual(
    worker.lane.outcomes
      .slice(-2)
      .map(({ outcome }) => outcome)
      .sort(),
    [OUTCOME.ok, OUTCOME.cancelled].sort(),
  )
})

test('the first pod may still win, and then the second is ended', async t => {
  let late: PodRequest | undefined
  const { two, worker, workflow } = await twoPods(
    t,
    request => {
      late = request
    },
    () => late !== undefined && says('first after all')(late),
  )
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { ...stream, workflow }), { status: 200, outcome: 'ok' })
  t.is(sink.text, 'first after all')
  await until(t, () => two.sockets.size === 0, 'the second pod is let go of')
  await assertClean(t, worker)
})

test('an error of one is not the answer while the other is at work; of both, the last one is', async t => {
  let late: PodRequest | undefined
  for (const [status, code] of [
    [429, 429],
    [503, 503],
  ] as const) {
    const { worker, workflow } = await twoPods(
      t,
      request => {
        late = request
      },
      ({ socket }) => {
        socket.write(answerWith(status, '{"error":"second"}'))
        if (late !== undefined) says('first')(late)
      },
      { attempts: 1 },
    )
    const sink = new RecordingSink()
    t.like(await worker.run(sink, { ...stream, workflow }), { status: 200 })
    t.is(sink.text, 'first')
    await assertClean(t, worker)

    const both = await twoPods(
      t,
      request => {
        late = request
      },
      ({ socket }) => {
        socket.write(answerWith(status, '{"error":"second"}'))
        setTimeout(() => late?.socket.write(answerWith(status, '{"error":"first"}')), 20)
      },
      { attempts: 1 },
    )
    const last = new RecordingSink()
    t.like(await both.worker.run(last, { ...stream, workflow: both.workflow }), { status: code })
    await assertClean(t, both.worker)
  }
})

test('a pod that failed beside a hedge was tried again, as if it had not', async t => {
  let late: PodRequest | undefined
  const { one, two, worker, workflow } = await twoPods(
    t,
    request => {
      late = request
    },
    ({ socket }) => {
      late?.socket.write(answerWith(503, '{}'))
      setTimeout(() => socket.write(answerWith(503, '{}')), 20)
    },
  )
  const before = [one.requests.length, two.requests.length]
  // Both have failed, and there is no third.
  t.like(await worker.run(new RecordingSink(), { ...stream, workflow }), { status: 503, outcome: 'failed' })
  t.deepEqual([one.requests.length, two.requests.length], [(before[0] ?? 0) + 1, 1])
  await assertClean(t, worker)
})

test('nobody is hedged before the wait is known, without a budget, nor where the answer does not stream', async t => {
  const cold = async (workflow: ReturnType<typeof hedged>, given: { body: string }) => {
    const one = await startPod(t, ({ socket }) => {
      setTimeout(() => socket.write(answerWith(200, '{"id":"x"}')), 120)
    })
    const two = await startPod(t, says('second'))
    const worker = startWorker(t, [one.origin, two.origin])
    t.like(await worker.run(new RecordingSink(), { ...given, workflow }), { status: 200 })
    await assertClean(t, worker)
    return two.requests.length
  }
  t.is(await cold(hedged(), stream), 0)
  const late = ({ socket }: PodRequest): void => {
    setTimeout(() => socket.write(answerWith(200, '{"id":"x"}')), 120)
  }
  const broke = await twoPods(t, late, says('second'), { budget: 0 })
  t.like(await broke.worker.run(new RecordingSink(), { ...stream, workflow: broke.workflow }), {
    status: 200,
  })
  t.is(broke.two.requests.length, 0)
  const plain = await twoPods(t, late, says('second'))
  t.like(await plain.worker.run(new RecordingSink(), { body: '{"model":"m"}', workflow: plain.workflow }), {
    status: 200,
  })
  t.is(plain.two.requests.length, 0)
  for (const { worker } of [broke, plain]) await assertClean(t, worker)
})

test('a client that leaves ends both', async t => {
  const { one, two, worker, workflow } = await twoPods(
    t,
    () => undefined,
    () => undefined,
  )
  const sink = new RecordingSink()
  const over = worker.run(sink, { ...stream, workflow })
  await until(t, () => two.requests.length === 1, 'the second pod is asked')
  sink.leave()
  t.like(await over, { status: 499, outcome: 'cancelled' })
  await assertClean(t, worker)
  await until(t, () => one.sockets.size + two.sockets.size === 0, 'both are let go of')
})

test('no more hedges than the budget, whatever comes', t => {
  fc.assert(
    fc.property(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.integer({ min: 1, max: 20 }),
      fc.array(fc.boolean(), { maxLength: 400 }),
      (share, burst, asks) => {
        const budget = new HedgeBudget(share, burst)
        let hedges = 0
        let requests = 0
        for (const ask of asks) {
          budget.earn()
          requests++
          if (ask && budget.spend()) hedges++
        }
        return hedges <= share * requests + 1e-9 && hedges <= requests
      },
    ),
  )
  t.pass()
})

test('the wait is the percentile of the last times, by nearest rank, once there are enough', t => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 64, maxLength: 64 }),
      fc.integer({ min: 50, max: 99 }),
      (times, percentile) => {
        const known = new FirstBytes(percentile)
        for (const [i, ms] of times.entries()) {
          if (i < 63 && known.wait('m') !== undefined) return false
          known.add('m', ms)
        }
        const sorted = [...times].sort((a, b) => a - b)
        return (
          known.wait('m') === sorted[Math.ceil((percentile / 100) * 64) - 1] &&
          known.wait('other') === undefined
        )
      },
    ),
  )
  // What is long past does not count.
  const known = new FirstBytes(95)
  for (let i = 0; i < 512; i++) known.add('m', 1000)
  for (let i = 0; i < 512; i++) known.add('m', 10)
  t.is(known.wait('m'), 10)
})
