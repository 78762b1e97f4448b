/** A client that goes away must free the engine at once, not when the answer would have been complete. */
import assert from 'node:assert/strict'
import { z } from 'zod'
import { type Engine, metric, VLLM_MODEL } from '../engine.js'
import { engineNamed, type Fleet, type FleetCase, post } from '../fleet.js'
import { until } from '../harness.js'

/** Long enough that no engine here is done with it before the abort is seen: some 3,000 steps. */
const long = {
  model: VLLM_MODEL,
  messages: [{ role: 'user' as const, content: 'Tell me a very long story.' }],
  max_tokens: 3_000,
  ignore_eos: true,
}

/** How long it takes an engine to notice on a machine that others keep busy; an unaborted answer takes longer. */
const NOTICE_MS = 10_000

const running = (engine: Engine): Promise<number> => metric(engine, 'vllm:num_requests_running')
const finished = (engine: Engine, reason: string): Promise<number> =>
  metric(engine, 'vllm:request_success_total', `finished_reason="${reason}"`)

async function idle(engine: Engine): Promise<string> {
  const started = performance.now()
  await until(NOTICE_MS, `${engine.name} runs nothing any more`, async () => {
    return (await running(engine)) === 0 || undefined
  })
  return `${Math.round(performance.now() - started)} ms`
}

async function abortStream({ client, engines }: Fleet): Promise<string> {
  const { data: stream, response } = await client.chat.completions
    .create({ ...long, stream: true })
    .withResponse()
  const engine = engineNamed(engines, response.headers.get('x-phyllo-pod'))
  const before = await finished(engine, 'length')
  let chunks = 0
  for await (const _ of stream) {
    if (++chunks < 5) continue
    assert.equal(await running(engine), 1)
    stream.controller.abort()
    break
  }
  const took = await idle(engine)
  assert.equal(await finished(engine, 'length'), before, 'the engine wrote the answer to its end')
  return `the engine was free after ${took}`
}

async function abortWaiting({ router, engines }: Fleet): Promise<string> {
  const before = await Promise.all(engines.vllm.map(engine => finished(engine, 'length')))
  const abort = new AbortController()
  const answer = fetch(`${router.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(long),
    signal: abort.signal,
  }).then(
    response => response.status,
    () => 'aborted',
  )
  const engine = await until(NOTICE_MS, 'the request runs', async () => {
    for (const candidate of engines.vllm) if ((await running(candidate)) > 0) return candidate
    return undefined
  })
  abort.abort()
  assert.equal(await answer, 'aborted')
  const took = await idle(engine)
  const after = await Promise.all(engines.vllm.map(each => finished(each, 'length')))
  assert.deepEqual(after, before, 'the engine wrote the answer to its end')
  return `the engine was free after ${took}`
}

const podList = z.object({ pods: z.array(z.object({ id: z.string(), inflight: z.number() })) })

async function nothingInFlight({ router }: Fleet): Promise<undefined> {
  const answer = await fetch(`${router.adminUrl}/pods`)
  const { pods } = podList.parse(await answer.json())
  assert.deepEqual(
    pods.filter(({ inflight }) => inflight !== 0),
    [],
  )
  const chat = { model: VLLM_MODEL, messages: long.messages, max_tokens: 1 }
  assert.equal((await post(router.url, '/v1/chat/completions', chat)).status, 200)
  return undefined
}

export const abortCases: readonly FleetCase[] = [
  { name: 'an aborted stream frees the engine', run: abortStream },
  { name: 'an abort before the first byte frees the engine', run: abortWaiting },
  { name: 'the router counts nothing in flight after the aborts', run: nothingInFlight },
]
