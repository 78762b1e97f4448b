/** What observers are told of requests of several steps: which way each took, its steps, and what failed of them. */
import test from 'ava'
import { workflowFor } from '#phyllo/execution/workflows/registry.js'
import { answerWith, assertClean, RecordingSink, startPod, startWorker } from './kit.js'

const params =
  '{"do_remote_prefill":true,"do_remote_decode":false,"remote_engine_id":"p","remote_block_ids":[[1,2]],' +
  '"remote_host":"127.0.0.1","remote_port":5600,"remote_request_id":"r"}'
const handedOff = `{"id":"x","choices":[],"kv_transfer_params":${params}}`
const body = '{"model":"m","max_tokens":7,"messages":[{"role":"user","content":"hi"}]}'
const workflow = workflowFor({ name: 'prefill-decode/vllm-nixl', options: {} })
const request = { ticket: 1, body, workflow }

test('split, direct and fallback are told once a request, and single’s requests are told nothing of', async t => {
  const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(200, handedOff)))
  const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const worker = startWorker(t, [prefill.origin, decode.origin], { roles: ['prefill', 'decode'] })
  worker.lane.uncached = 300
  await worker.run(new RecordingSink(), request)
  t.deepEqual([worker.ways.splice(0), worker.steps.splice(0)], [['split'], ['prefill', 'decode']])
  worker.lane.uncached = 3
  await worker.run(new RecordingSink(), request)
  t.deepEqual([worker.ways.splice(0), worker.steps.splice(0)], [['direct'], ['serve']])
  worker.lane.uncached = 300
  const twice = body.replace('"max_tokens"', '"n":2,"max_tokens"')
  await worker.run(new RecordingSink(), { ...request, body: twice })
  t.deepEqual([worker.ways.splice(0), worker.steps.splice(0)], [['fallback'], ['serve']])
  await worker.run(new RecordingSink(), { ticket: 1, body })
  t.deepEqual([worker.ways, worker.steps], [[], []])
  await assertClean(t, worker)
})

test('without a prefill pod the fallback is told, and no split', async t => {
  const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const worker = startWorker(t, [decode.origin], { roles: ['decode'] })
  worker.lane.uncached = 300
  await worker.run(new RecordingSink(), request)
  t.deepEqual([worker.ways, worker.steps], [['fallback'], ['serve']])
  await assertClean(t, worker)
})

test('each failure is told once with its step and cause, and a request that begins again is still one split', async t => {
  const bad = await startPod(t, ({ socket }) => socket.write(answerWith(503, '{}')))
  const vague = await startPod(t, ({ socket }) =>
    socket.write(answerWith(200, '{"kv_transfer_params":null}')),
  )
  const good = await startPod(t, ({ socket }) => socket.write(answerWith(200, handedOff)))
  const reset = await startPod(t, ({ socket }) => socket.resetAndDestroy())
  const decode = await startPod(t, ({ socket }) => socket.write(answerWith(200, '{"text":"hi"}')))
  const origins = [bad, vague, good, reset, decode].map(pod => pod.origin)
  const roles = ['prefill', 'prefill', 'prefill', 'decode', 'decode'] as const
  const worker = startWorker(t, origins, { roles })
  worker.lane.uncached = 300
  t.like(await worker.run(new RecordingSink(), request), { status: 200 })
  t.deepEqual(worker.ways, ['split'])
  t.deepEqual(worker.steps, [
    'prefill pod_error',
    'prefill pod_bad_response',
    'prefill',
    'decode pod_closed_early',
    'prefill',
    'decode',
  ])
  await assertClean(t, worker)
})

test('a decode that breaks off after its first byte was done, and has failed', async t => {
  const prefill = await startPod(t, ({ socket }) => socket.write(answerWith(200, handedOff)))
  const decode = await startPod(t, ({ socket }) => {
    socket.write('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"text":')
    setTimeout(() => socket.resetAndDestroy(), 50)
  })
  const worker = startWorker(t, [prefill.origin, decode.origin], { roles: ['prefill', 'decode'] })
  worker.lane.uncached = 300
  t.like(await worker.run(new RecordingSink(), request), { outcome: 'failed' })
  t.deepEqual(worker.steps, ['prefill', 'decode', 'decode pod_closed_early'])
  await assertClean(t, worker)
})
