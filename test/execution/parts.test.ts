import test from 'ava'
import fc from 'fast-check'
import { BOOK, BOOKED_WORDS, OUTCOME, REFUSED } from '#phyllo/data/native.js'
import { selectionError } from '#phyllo/decision/outcome.js'
import { slot } from '#phyllo/decision/slot.js'
import { forwardedHeaders, relayedHeaders } from '#phyllo/execution/headers.js'
import { Lease } from '#phyllo/execution/lease.js'
import { ResponseIdScanner } from '#phyllo/execution/response-id.js'
import type { ClientSink } from '#phyllo/execution/sink.js'
import { type Step, type StepResult, stepsOf, type Workflow } from '#phyllo/execution/workflow.js'
import { checked, workflow } from '#phyllo/execution/workflow-builder.js'
import { executors, workflowFor } from '#phyllo/execution/workflows/registry.js'
import { passThrough, single, singleWorkflow } from '#phyllo/execution/workflows/single.js'
import type { Exchange } from '#phyllo/server/listener/listener.js'
import {
  allFull,
  answerWith,
  assertClean,
  CountingLane,
  inOrder,
  podAt,
  RecordingSink,
  startPod,
  startWorker,
} from './kit.js'

const step = (name: string, output: Step['output']): Step => {
  return { name, output, onFailure: { kind: 'retry', attempts: 2 }, request: passThrough }
}

/** A workflow of one step after the other. */
const sequence = (name: string, steps: readonly Step[]) =>
  checked({ name, stages: steps.map(each => ({ steps: [each] })) })

// Workflows

test('a workflow whose steps cannot work is refused when it is made', t => {
  const kv = slot('kv').of<string>()
  const cases: [readonly Step[], RegExp][] = [
    [[], /has no steps/],
    [[step('a', 'keep')], /one step that relays/],
    [[step('a', 'relay'), step('b', 'relay')], /'a' relays/],
    [[step('a', 'keep'), step('a', 'relay')], /two steps are named 'a'/],
    [[{ ...step('a', 'relay'), onFailure: { kind: 'retry', attempts: 0 } }], /'a' has no attempts/],
    [[{ ...step('a', 'relay'), reads: [kv] }], /'a' reads 'kv', which no stage before it writes/],
  ]
  for (const [steps, message] of cases) t.throws(() => sequence('w', steps), { message })
  t.notThrows(() =>
    sequence('w', [
      { ...step('a', 'keep'), writes: kv },
      { ...step('b', 'relay'), reads: [kv] },
    ]),
  )
  const both = [step('a', 'relay'), step('b', 'keep')]
  t.throws(() => checked({ name: 'w', stages: [{ steps: both }] }), { message: /'b' .* is kept for nobody/ })
  const back = { steps: [step('a', 'relay')], restartAt: 1 }
  t.throws(() => checked({ name: 'w', stages: [back] }), { message: /begins again at a stage/ })
  const choice = { step: 'b', otherwise: singleWorkflow({}), why: () => undefined }
  t.throws(() => checked({ name: 'w', stages: [{ steps: [step('a', 'relay')] }], choice }), {
    message: /no step 'b'/,
  })
})

test('single: three attempts unless told otherwise, found by name', t => {
  const policyOf = (workflow: Workflow) => stepsOf(workflow)[0]?.onFailure
  t.deepEqual(policyOf(singleWorkflow({})), { kind: 'retry', attempts: 3 })
  t.deepEqual(policyOf(workflowFor(single({ attempts: 1 }))), { kind: 'retry', attempts: 1 })
  t.true(executors.includes(single))
  t.throws(() => single({ attempts: 0 }))
  t.throws(() => workflowFor({ ...single(), name: 'nonesuch' }), { message: /nonesuch/ })
})

test('two steps: the first answer is kept for the second, which relays; each books its own pod', async t => {
  const prefill = await startPod(t, ({ socket }) =>
    socket.write(answerWith(200, '{"kv":42}', ['x-from: prefill'])),
  )
  const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const worker = startWorker(t, [prefill.origin, decode.origin])
  const only = (slot: number) => ({ slots: Uint16Array.of(slot), length: 1 })
  const handOff = slot('handOff').of<StepResult>()
  const twoSteps = workflow('pd')
    .step({
      ...{
        name: 'prefill',
        output: 'keep',
        onFailure: { kind: 'fail' },
        request: passThrough,
        writes: handOff,
      },
      pool: () => only(0),
      read(answer, ctx) {
        ctx.set(handOff, answer)
        return undefined
      },
    })
    .step({
      ...{ name: 'decode', output: 'relay', onFailure: { kind: 'fail' }, reads: [handOff] },
      pool: () => only(1),
      request(input) {
        const kept = input.ctx.get(handOff)
        const body = Buffer.from(`{"hint":${kept.body}}`)
        const from = `${kept.pod.id} ${kept.status} ${input.podOf('prefill').id}`
        return { ...passThrough(input), headers: ['x-prefill', from], body }
      },
    })
    .build()
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { workflow: twoSteps }), { status: 200, outcome: 'ok' })
  t.is(sink.text, '{"text":"hi"}')
  t.is(decode.requests[0]?.body.toString(), '{"hint":{"kv":42}}')
  t.regex(decode.requests[0]?.head ?? '', /x-prefill: pod-0 200 pod-0/)
  t.deepEqual(
    worker.lane.outcomes.map(o => o.outcome),
    [OUTCOME.ok, OUTCOME.ok],
  )
  await assertClean(t, worker)
})

test('a step whose request cannot be made ends the request, be it the first or a later one', async t => {
  const pod = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  const worker = startWorker(t, [pod.origin])
  const broken: Step = {
    ...step('decode', 'relay'),
    request: () => {
      throw new Error('the hint cannot be read')
    },
  }
  for (const steps of [[broken], [step('prefill', 'keep'), broken]]) {
    const sink = new RecordingSink()
    t.like(await worker.run(sink, { workflow: sequence('w', steps) }), { status: 500, outcome: 'failed' })
    t.is(sink.errorCode, 'internal_error')
    await assertClean(t, worker)
  }
})

test('an error answer of a kept step ends the workflow and goes to the client as it is', async t => {
  const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(422, '{"error":"no"}')))
  const worker = startWorker(t, [prefill.origin])
  const sink = new RecordingSink()
  const twoSteps = sequence('pd', [step('prefill', 'keep'), step('decode', 'relay')])
  t.like(await worker.run(sink, { workflow: twoSteps }), { status: 422 })
  t.is(sink.text, '{"error":"no"}')
  t.is(prefill.requests.length, 1)
  await assertClean(t, worker)
})

test('the server hands its exchange over as it is', t => {
  // Checked by the compiler: an Exchange is a ClientSink.
  const sinkOf = (exchange: Exchange): ClientSink => exchange
  t.is(typeof sinkOf, 'function')
})

// Leases

test('a lease gives back exactly what was booked, whatever is called how often', t => {
  const calls = fc.array(
    fc.oneof(
      { weight: 1, arbitrary: fc.constant('first') },
      { weight: 40, arbitrary: fc.constant('token') },
      { weight: 1, arbitrary: fc.constantFrom(0, 1, 2) },
    ),
    { maxLength: 200 },
  )
  fc.assert(
    fc.property(calls, sequence => {
      const lane = new CountingLane()
      const pod = podAt('http://p', 0)
      const out = new Uint32Array(BOOKED_WORDS)
      lane.book(0, pod.ref, 0, 0, out)
      const lease = new Lease(lane, pod, pod.ref, out[0] ?? 0, out[1] ?? 0)
      let tokens = 0
      for (const call of sequence) {
        if (call === 'first') lease.firstByte(5)
        else if (call === 'token') {
          lease.token()
          if (!lease.released) tokens++
        } else if (call === 0 || call === 1 || call === 2) lease.release(call)
        // All is counted but what is less than a block of 16.
        const counted = lease.released ? 0 : 9 + tokens - (tokens % 16)
        if (lane.active.get(pod.ref) !== counted) return false
      }
      const released = lane.outcomes.length
      lease.release(OUTCOME.cancelled)
      return lane.idle && lane.outcomes.length === 1 && released <= 1 && lane.samples.length <= 1
    }),
  )
  t.pass()
})

// Selection

test('full pods are passed over; a second ranking is asked for once when all refuse', async t => {
  const pod = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  const worker = startWorker(t, ['http://127.0.0.1:1', pod.origin])
  worker.lane.refuse.set(worker.infos[0]?.ref ?? -1, REFUSED.full)
  t.like(await worker.run(new RecordingSink()), { status: 200, attempts: 1 })
  t.deepEqual(worker.picks, ['pod-1'])

  let rankings = 0
  const profile = {
    ...inOrder,
    select: (...args: Parameters<typeof inOrder.select>) => {
      // Room again after the first look.
      if (++rankings === 2) worker.lane.refuse.clear()
      return inOrder.select(...args)
    },
  }
  allFull(worker)
  worker.lane.refuse.delete(0)
  await worker.run(new RecordingSink(), { profile })
  t.true(rankings >= 2)
  await assertClean(t, worker)
})

test('a session that another thread claimed goes to its pod, unless the request failed there or may not go there', async t => {
  const home = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"at":"home"}')))
  const away = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"at":"away"}')))
  const worker = startWorker(t, [away.origin, home.origin])
  worker.lane.claimedBy = worker.infos[1]?.ref ?? -1
  const profile = { ...inOrder, bookFlags: BOOK.claimSession }
  const sink = new RecordingSink()
  await worker.run(sink, { profile })
  t.is(sink.text, '{"at":"home"}')
  t.is(sink.header('x-phyllo-pod'), 'pod-1')

  const broken = startWorker(t, ['http://127.0.0.1:1', away.origin])
  broken.lane.claimedBy = broken.infos[0]?.ref ?? -1
  const second = new RecordingSink()
  t.like(await broken.run(second, { profile }), { status: 200, attempts: 2 })
  t.is(second.text, '{"at":"away"}')

  const elsewhere = startWorker(t, [away.origin])
  elsewhere.lane.claimedBy = 5000
  t.like(await elsewhere.run(new RecordingSink(), { profile }), { status: 200, attempts: 1 })
  for (const one of [worker, broken, elsewhere]) await assertClean(t, one)
})

test('a session’s holder was booked within the limit of the pod that was wanted: its own holds', async t => {
  const away = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"at":"away"}')))
  const home = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"at":"home"}')))
  const worker = startWorker(t, [away.origin, home.origin], { limits: [9, 2] })
  worker.lane.claimedBy = worker.infos[1]?.ref ?? -1
  const sink = new RecordingSink()
  await worker.run(sink, { profile: { ...inOrder, bookFlags: BOOK.claimSession } })
  t.is(sink.text, '{"at":"home"}')
  t.deepEqual(worker.lane.bounds, [9, 2])
  await assertClean(t, worker)
})

test('a step’s transform that throws on a retry, in a callback of the client, left the request without an end', async t => {
  const broken = await startPod(t, ({ socket }) => socket.write(answerWith(503, '{}')))
  const worker = startWorker(t, [broken.origin, broken.origin])
  let calls = 0
  const thrower = sequence('thrower', [
    {
      name: 'serve',
      output: 'relay',
      onFailure: { kind: 'retry', attempts: 3 },
      request: input => {
        if (++calls === 2) throw new Error('no such field')
        return passThrough(input)
      },
    },
  ])
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { workflow: thrower }), { status: 500, outcome: 'failed' })
  t.regex(sink.text, /no such field/)
  await assertClean(t, worker)
})

test('the error for a response whose pod takes no requests spoke of the model, which others could serve', t => {
  const error = selectionError('no_pod', { model: 'm', pinnedTo: 'resp_1' })
  t.is(error.message, "the pod that holds the response 'resp_1' takes no requests now")
})

test("a request that names no model was told: no pod can serve ''", t => {
  t.is(selectionError('no_pod', { model: '', pinnedTo: '' }).message, 'no pod can take this request now')
  t.is(selectionError('no_pod', { model: 'm', pinnedTo: '' }).message, "no pod can serve 'm' now")
  t.is(
    selectionError('overloaded', { model: '', pinnedTo: '' }).message,
    'all pods that take this request are at their limit',
  )
})

// Response ids

test('the id of a response is noted with its pod, in JSON and in a stream', async t => {
  const json = answerWith(200, '{"id":"resp_8c4e5a56f07d7e53","created_at":1795253820,"model":"tiny"}')
  const pod = await startPod(t, ({ socket }) => socket.write(json))
  const worker = startWorker(t, [pod.origin])
  const noted: [string, number][] = []
  const onResponseId = (id: string, ref: number) => void noted.push([id, ref])
  await worker.run(new RecordingSink(), { kind: 'responses', path: '/v1/responses', onResponseId })
  await worker.run(new RecordingSink(), { kind: 'chat', onResponseId })
  t.deepEqual(noted, [['resp_8c4e5a56f07d7e53', worker.infos[0]?.ref ?? -1]])
})

const event = 'event: response.created\ndata: {"response": {"id" : "resp_ab-12_C", "object":"response"}}\n\n'

test('an id is found however its bytes are split, once, and never past the window', t => {
  const cutAt = fc.array(fc.nat(event.length), { maxLength: 10 })
  fc.assert(
    fc.property(cutAt, cuts => {
      const found: string[] = []
      const scanner = new ResponseIdScanner(id => found.push(id))
      const places = [0, ...cuts.sort((a, b) => a - b), event.length]
      for (const [i, end] of places.slice(1).entries()) scanner.feed(Buffer.from(event.slice(places[i], end)))
      scanner.feed(Buffer.from(event.replace('ab-12', 'second')))
      return found.length === 1 && found[0] === 'resp_ab-12_C'
    }),
  )
  const found: string[] = []
  const late = new ResponseIdScanner(id => found.push(id))
  late.feed(Buffer.alloc(8192, ' '))
  late.feed(Buffer.from(event))
  t.deepEqual(found, [])
})

// Headers

const request = { id: 'r', method: 'POST', path: '/', query: '', headers: [], kind: 'chat' as const }

test('headers that a connection header names do not pass, whatever their number and spelling', t => {
  const headers = ['connection', 'Keep-Alive, X-A', 'x-a', '1', 'x-b', '2', 'connection', 'x-c', 'x-c', '3']
  t.deepEqual(forwardedHeaders({ ...request, headers }, ''), ['x-b', '2', 'x-request-id', 'r'])
})

test('what the relay must know of a head', t => {
  const read = (...lines: string[]) => relayedHeaders(lines.map(line => Buffer.from(line, 'latin1')))
  t.like(read('Content-Type', 'text/event-stream; charset=utf-8'), { events: true, contentLength: -1 })
  t.like(read('content-type', 'text/event-streams'), { events: false })
  t.like(read('content-type', 'text/event-stream', 'content-encoding', 'br'), { events: false })
  t.like(read('Content-Length', '12', 'X-Caf\u00e9', '\u00e9'), {
    contentLength: 12,
    headers: ['x-caf\u00e9', '\u00e9'],
  })
})

test('pods[].maxInflight was taken and enforced nowhere: booking is told the tighter of it and the profile’s cap', async t => {
  const pod = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  for (const [own, cap, told] of [
    [0, 0, 0],
    [3, 0, 3],
    [0, 4, 4],
    [3, 4, 3],
    [5, 4, 4],
  ] as const) {
    const worker = startWorker(t, [pod.origin], { maxInflight: own })
    const select: typeof inOrder.select = (ctx, ...rest) => {
      const outcome = inOrder.select(ctx, ...rest)
      ctx.bound = cap
      return outcome
    }
    t.like(await worker.run(new RecordingSink(), { profile: { ...inOrder, select } }), { status: 200 })
    t.deepEqual(worker.lane.bounds, [told])
  }
})
