/** Prefill/decode over raw sockets: what goes to whom, who is ended when a leg fails, and what the client gets. */
import test from 'ava'
import { OUTCOME } from '#phyllo/data/native.js'
import { workflowFor } from '#phyllo/execution/workflows/registry.js'
import { answerWith, assertClean, type Pod, RecordingSink, startPod, startWorker } from './kit.js'

const params =
  '{"do_remote_prefill":true,"do_remote_decode":false,"remote_engine_id":"p","remote_block_ids":[[1,2]],' +
  '"remote_host":"127.0.0.1","remote_port":5600,"remote_request_id":"r","big":12345678901234567890}'
const handedOff = `{"id":"x","choices":[],"kv_transfer_params":${params}}`

const nixl = (options: Record<string, unknown> = {}) =>
  workflowFor({ name: 'prefill-decode/vllm-nixl', options })
const sglang = (options: Record<string, unknown> = {}) =>
  workflowFor({ name: 'prefill-decode/sglang', options })
const jsonOf = (pod: Pod, request = 0): unknown =>
  JSON.parse(pod.requests[request]?.body.toString() ?? 'null')

const body = '{"model":"m","max_tokens":7,"messages":[{"role":"user","content":"hi"}],"unknown":1e400}'
const streamed = body.replace('"max_tokens"', '"stream":true,"max_tokens"')
/** More uncached tokens than any threshold here. */
const long = { ticket: 1, body }

test('nixl: the prompt on one pod, the answer from another, which gets what the first one said byte for byte', async t => {
  const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(200, handedOff)))
  const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const worker = startWorker(t, [prefill.origin, decode.origin], { roles: ['prefill', 'decode'] })
  worker.lane.uncached = 300
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { ...long, workflow: nixl() }), { status: 200, outcome: 'ok', attempts: 1 })
  t.is(sink.text, '{"text":"hi"}')
  t.like(jsonOf(prefill), { max_tokens: 1, stream: false, kv_transfer_params: { do_remote_decode: true } })
  t.is(decode.requests[0]?.body.toString(), `${body.slice(0, -1)},"kv_transfer_params":${params}}`)
  t.deepEqual(worker.picks, ['pod-0', 'pod-1'])
  await assertClean(t, worker)
})

test('nixl: what is short, or cached where it is decoded, goes straight there', async t => {
  const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(200, handedOff)))
  const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const worker = startWorker(t, [prefill.origin, decode.origin], { roles: ['prefill', 'decode'] })
  worker.lane.uncached = 256
  t.like(await worker.run(new RecordingSink(), { ...long, workflow: nixl() }), { status: 200 })
  t.deepEqual([prefill.requests.length, decode.requests.length], [0, 1])
  t.is(decode.requests[0]?.body.toString(), body)
  worker.lane.uncached = 257
  t.like(await worker.run(new RecordingSink(), { ...long, workflow: nixl() }), { status: 200 })
  t.deepEqual([prefill.requests.length, decode.requests.length], [1, 2])
  await assertClean(t, worker)
})

test('nixl: what cannot be split, and a fleet whose prefill pods are gone, is served whole', async t => {
  const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const worker = startWorker(t, [decode.origin], { roles: ['decode'] })
  worker.lane.uncached = 9000
  t.like(await worker.run(new RecordingSink(), { ...long, workflow: nixl() }), { status: 200 })
  const twice = body.replace('"max_tokens"', '"n":2,"max_tokens"')
  t.like(await worker.run(new RecordingSink(), { ...long, body: twice, workflow: nixl() }), { status: 200 })
  t.is(decode.requests[1]?.body.toString(), twice)
  await assertClean(t, worker)
})

test('nixl: a 4xx of the prefill is the client’s answer, unchanged', async t => {
  const prefill = await startPod(t, ({ socket }) =>
    socket.write(answerWith(400, '{"error":"too long"}', ['x-why: length'])),
  )
  const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  const worker = startWorker(t, [prefill.origin, decode.origin], { roles: ['prefill', 'decode'] })
  worker.lane.uncached = 300
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { ...long, workflow: nixl() }), { status: 400, outcome: 'ok' })
  t.is(sink.text, '{"error":"too long"}')
  t.is(decode.requests.length, 0)
  await assertClean(t, worker)
})

const prefillFaults: [string, (pod: Pod['requests'][0]) => void][] = [
  ['503', ({ socket }) => void socket.write(answerWith(503, '{}'))],
  ['garbage', ({ socket }) => void socket.write(answerWith(200, '<html>'))],
  ['no params', ({ socket }) => void socket.write(answerWith(200, '{"kv_transfer_params":null}'))],
  ['reset', ({ socket }) => void socket.resetAndDestroy()],
  ['hang', () => undefined],
]
for (const [name, fault] of prefillFaults) {
  test(`nixl: a prefill that fails (${name}) is tried on the next pod`, async t => {
    const bad = await startPod(t, fault)
    const good = await startPod(t, ({ socket }) => socket.write(answerWith(200, handedOff)))
    const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
    const worker = startWorker(t, [bad.origin, good.origin, decode.origin], {
      roles: ['prefill', 'prefill', 'decode'],
    })
    worker.lane.uncached = 300
    const sink = new RecordingSink()
    // Short only for the pod that never answers: on a busy machine a good one may take as long.
    const workflow = nixl(name === 'hang' ? { prefillTimeoutMs: 1000 } : {})
    t.like(await worker.run(sink, { ...long, workflow }), { status: 200, outcome: 'ok' })
    t.is(sink.text, '{"text":"hi"}')
    t.deepEqual(
      [bad, good, decode].map(pod => pod.requests.length),
      [1, 1, 1],
    )
    await assertClean(t, worker)
    t.true(worker.lane.outcomes.some(({ outcome }) => outcome === OUTCOME.failed))
  })
}

test('nixl: a decode that fails begins again with a prefill, since a hand-off is taken once; one never reached does not', async t => {
  const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(200, handedOff)))
  const bad = await startPod(t, ({ socket }) => socket.resetAndDestroy())
  const good = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const roles = ['prefill', 'decode', 'decode'] as const
  const worker = startWorker(t, [prefill.origin, bad.origin, good.origin], { roles })
  worker.lane.uncached = 300
  t.like(await worker.run(new RecordingSink(), { ...long, workflow: nixl() }), { status: 200 })
  t.deepEqual([prefill.requests.length, bad.requests.length, good.requests.length], [2, 1, 1])
  await assertClean(t, worker)

  const gone = startWorker(t, [prefill.origin, 'http://127.0.0.1:9', good.origin], { roles })
  gone.lane.uncached = 300
  const goneSink = new RecordingSink()
  t.like(await gone.run(goneSink, { ...long, workflow: nixl() }), { status: 200 }, goneSink.text)
  t.is(prefill.requests.length, 3)
  await assertClean(t, gone)
})

test('nixl: a stream that does not begin is given up at its deadline, which is not that of an answer that comes whole', async t => {
  const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(200, handedOff)))
  const later = ({ socket }: Pod['requests'][0]) =>
    void setTimeout(() => socket.write(answerWith(200, '{"text":"late"}')), 400)
  const slow = await startPod(t, later)
  const other = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const roles = ['prefill', 'decode', 'decode'] as const
  const workflow = nixl({ firstByteTimeoutMs: 60 })
  for (const [stream, text] of [
    [false, '{"text":"late"}'],
    [true, '{"text":"hi"}'],
  ] as const) {
    const worker = startWorker(t, [prefill.origin, slow.origin, other.origin], { roles })
    worker.lane.uncached = 300
    const sink = new RecordingSink()
    const asked = { ticket: 1, body: stream ? streamed : body, workflow }
    t.like(await worker.run(sink, asked), { status: 200, outcome: 'ok', attempts: stream ? 2 : 1 })
    t.is(sink.text, text)
    await assertClean(t, worker)
  }
  // Each try on decode had a hand-off of its own.
  t.deepEqual(
    [prefill, slow, other].map(pod => pod.requests.length),
    [3, 2, 1],
  )
})

test('nixl: a client that leaves ends the leg under way', async t => {
  const prefill = await startPod(t, () => undefined)
  const decode = await startPod(t, () => undefined)
  const worker = startWorker(t, [prefill.origin, decode.origin], { roles: ['prefill', 'decode'] })
  worker.lane.uncached = 300
  const sink = new RecordingSink()
  const over = worker.run(sink, { ...long, workflow: nixl() })
  while (prefill.requests.length === 0) await new Promise(resolve => setTimeout(resolve, 5))
  sink.leave()
  t.like(await over, { status: 499, outcome: 'cancelled' })
  await assertClean(t, worker)
  while (prefill.sockets.size > 0) await new Promise(resolve => setTimeout(resolve, 5))
  t.is(decode.requests.length, 0)
})

test('sglang: both pods at once, with one room; decode’s answer is the client’s', async t => {
  const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"h"}')))
  const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const kvTransfer = { connector: 'sglang', bootstrapPort: 9001 } as const
  const worker = startWorker(t, [prefill.origin, decode.origin], { roles: ['prefill', 'decode'], kvTransfer })
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { ...long, workflow: sglang() }), { status: 200, outcome: 'ok' })
  t.is(sink.text, '{"text":"hi"}')
  const room = /"bootstrap_room":(\d+)/
  const rooms = [prefill, decode].map(pod => room.exec(pod.requests[0]?.body.toString() ?? '')?.[1])
  t.truthy(rooms[0])
  t.is(rooms[0], rooms[1])
  t.like(jsonOf(decode), { bootstrap_host: '127.0.0.1', bootstrap_port: 9001, max_tokens: 7 })
  await assertClean(t, worker)
})

test('sglang: a prefill that fails ends the decode that waits for it, at once, and the next pair is tried', async t => {
  const bad = await startPod(t, ({ socket }) => socket.write(answerWith(500, '{}')))
  const good = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  const rooms = new Set<string>()
  // It answers only once a prefill has come to the room that it was told.
  const decode = await startPod(t, ({ socket, body: sent }) => {
    const room = /"bootstrap_room":(\d+)/.exec(sent.toString())?.[1] ?? ''
    rooms.add(room)
    const timer = setInterval(() => {
      const met = good.requests.some(({ body: other }) => other.toString().includes(room))
      if (!met) return
      clearInterval(timer)
      socket.write(answerWith(200, '{"text":"hi"}'))
    }, 5)
    socket.on('close', () => clearInterval(timer))
  })
  const roles = ['prefill', 'prefill', 'decode'] as const
  const worker = startWorker(t, [bad.origin, good.origin, decode.origin], { roles })
  const sink = new RecordingSink()
  const started = performance.now()
  t.like(await worker.run(sink, { ...long, workflow: sglang() }), { status: 200, outcome: 'ok' })
  t.true(performance.now() - started < 20_000)
  t.is(sink.text, '{"text":"hi"}')
  t.is(rooms.size, 2)
  await assertClean(t, worker)
})

test('sglang: a 4xx of either pod is the client’s answer, and the other leg is ended', async t => {
  for (const refuses of [0, 1]) {
    const pods = await Promise.all(
      [0, 1].map(which =>
        startPod(
          t,
          ({ socket }) => void (which === refuses && socket.write(answerWith(422, '{"error":"no"}'))),
        ),
      ),
    )
    const worker = startWorker(
      t,
      pods.map(({ origin }) => origin),
      { roles: ['prefill', 'decode'] },
    )
    const sink = new RecordingSink()
    t.like(await worker.run(sink, { ...long, workflow: sglang() }), { status: 422, outcome: 'ok' })
    t.is(sink.text, '{"error":"no"}')
    await assertClean(t, worker)
  }
})

test('without a pod for a step and without a fallback, the client is told', async t => {
  const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  const worker = startWorker(t, [prefill.origin], { roles: ['prefill'] })
  const sink = new RecordingSink()
  t.like(await worker.run(sink, { ...long, workflow: sglang() }), { status: 503, outcome: 'failed' })
  t.is(sink.errorCode, 'no_pod')
  t.is(prefill.requests.length, 0)
  await assertClean(t, worker)
})

test('a workflow that falls back to itself is refused when it is made', t => {
  t.throws(() => sglang({ fallback: 'prefill-decode/sglang' }), { message: /falls back to itself/ })
  t.throws(() => sglang({ fallback: 'nonesuch' }), { message: /no workflow is named 'nonesuch'/ })
})

const p2p = (options: Record<string, unknown> = {}) =>
  workflowFor({ name: 'prefill-decode/vllm-p2p-nccl', options })
const idOf = (pod: Pod, request = 0): string =>
  /x-request-id: (\S+)/.exec(pod.requests[request]?.head ?? '')?.[1] ?? ''
const pair = { connector: 'p2p-nccl', bootstrapPort: 8998, address: '10.0.0.1:14579' } as const

test('p2p-nccl: the legs had ids of their own, so that decode waited for blocks under another name', async t => {
  const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const worker = startWorker(t, [prefill.origin, decode.origin], {
    roles: ['prefill', 'decode'],
    kvTransfer: pair,
  })
  for (const turn of [0, 1]) {
    t.like(await worker.run(new RecordingSink(), { ...long, workflow: p2p() }), { status: 200 })
    t.regex(
      idOf(prefill, turn),
      /^___prefill_addr_10\.0\.0\.1:14579___decode_addr_10\.0\.0\.1:14579_[0-9a-f]{32}$/,
    )
    t.is(idOf(prefill, turn), idOf(decode, turn))
  }
  t.not(idOf(prefill, 0), idOf(prefill, 1))
  await assertClean(t, worker)
})

test('p2p-nccl: blocks that were pushed to a decode pod which is not there were expected by the next one', async t => {
  const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  const good = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const roles = ['prefill', 'decode', 'decode'] as const
  const worker = startWorker(t, [prefill.origin, 'http://127.0.0.1:9', good.origin], {
    roles,
    kvTransfer: pair,
  })
  t.like(await worker.run(new RecordingSink(), { ...long, workflow: p2p() }), { status: 200 })
  t.is(prefill.requests.length, 2)
  t.not(idOf(prefill, 0), idOf(prefill, 1))
  t.is(idOf(prefill, 1), idOf(good))
  await assertClean(t, worker)
})

test('sglang: a prefill that is not there leaves decode in a room; the next pair gets another', async t => {
  const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{}')))
  const rooms: string[] = []
  const decode = await startPod(t, ({ socket, body: sent }) => {
    rooms.push(/"bootstrap_room":(\d+)/.exec(sent.toString())?.[1] ?? '')
    if (prefill.requests.at(-1)?.body.includes(rooms.at(-1) ?? 'x'))
      socket.write(answerWith(200, '{"text":"hi"}'))
    else setTimeout(() => socket.write(answerWith(200, '{"text":"hi"}')), 200)
  })
  const roles = ['prefill', 'prefill', 'decode'] as const
  const worker = startWorker(t, ['http://127.0.0.1:9', prefill.origin, decode.origin], { roles })
  t.like(await worker.run(new RecordingSink(), { ...long, workflow: sglang() }), { status: 200 })
  t.is(new Set(rooms).size, rooms.length)
  t.regex(prefill.requests[0]?.body.toString() ?? '', new RegExp(`"bootstrap_room":${rooms.at(-1)}\\b`))
  await assertClean(t, worker)
})

const events = (...lines: string[]): string => lines.map(line => `data: ${line}\n\n`).join('')
const role = '{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}'
const failed = '{"error":{"message":"KV load failed","code":500}}'
const hi = '{"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}'

test('nixl: vLLM answers a failed pull with 200, a role piece and an error event; that went to the client as its answer', async t => {
  for (const pieces of [[role, failed], [failed]]) {
    const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(200, handedOff)))
    const stream = (text: string) => answerWith(200, text, ['content-type: text/event-stream'])
    const bad = await startPod(t, ({ socket }) => socket.write(stream(events(...pieces, '[DONE]'))))
    const good = await startPod(t, ({ socket }) => socket.write(stream(events(role, hi, '[DONE]'))))
    const roles = ['prefill', 'decode', 'decode'] as const
    const worker = startWorker(t, [prefill.origin, bad.origin, good.origin], { roles })
    worker.lane.uncached = 300
    const sink = new RecordingSink()
    t.like(await worker.run(sink, { ticket: 1, body: streamed, workflow: nixl() }), {
      status: 200,
      outcome: 'ok',
    })
    t.is(sink.text, events(role, hi, '[DONE]'))
    t.deepEqual([prefill.requests.length, bad.requests.length, good.requests.length], [2, 1, 1])
    await assertClean(t, worker)

    const alone = startWorker(t, [prefill.origin, bad.origin], { roles })
    alone.lane.uncached = 300
    const told = new RecordingSink()
    t.like(await alone.run(told, { ticket: 1, body: streamed, workflow: nixl({ attempts: 1 }) }), {
      status: 502,
    })
    t.regex(told.text, /KV load failed/)
    await assertClean(t, alone)
  }
})
