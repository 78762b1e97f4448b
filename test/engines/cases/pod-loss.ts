/** A pod that dies: mid-stream the client is told, and everything else goes on with the pod that is left. */
import assert from 'node:assert/strict'
import { APIError } from 'openai'
import { type Engine, metric, VLLM_MODEL } from '../engine.js'
import { LLAMACPP_MODEL } from '../engines.js'
import { engineNamed, type Fleet, type FleetCase } from '../fleet.js'
import { until } from '../harness.js'
import { modelNames } from '../router.js'

let dead: Engine | undefined

const running = (engine: Engine): Promise<number> => metric(engine, 'vllm:num_requests_running')

/** Long enough to be under way when the pod is killed. */
const story = { model: VLLM_MODEL, max_tokens: 1_500, ignore_eos: true }
const waiting = ['Ann', 'Bob', 'Cid', 'Dan', 'Eve', 'Fay']

async function killMidStream({ client, engines }: Fleet): Promise<string> {
  // Half of these run on the pod that is killed; nothing of their answers has gone out, so another pod can do them.
  const others = waiting.map(name => {
    const prompt = `${name} once told a long story.`
    return client.completions.create({ ...story, max_tokens: 200, prompt }).withResponse()
  })
  const settled = Promise.allSettled(others)
  await until(10_000, 'the requests run', async () => {
    const counts = await Promise.all(engines.vllm.map(running))
    return (counts[0] === 3 && counts[1] === 3) || undefined
  })
  const messages = [{ role: 'user' as const, content: 'Tell me a very long story.' }]
  const { data: stream, response } = await client.chat.completions
    .create({ ...story, messages, stream: true })
    .withResponse()
  const engine = engineNamed(engines, response.headers.get('x-phyllo-pod'))
  let chunks = 0
  const read = async (): Promise<void> => {
    for await (const _ of stream) {
      if (++chunks !== 5) continue
      assert.ok((await running(engine)) > 1, 'it runs others besides')
      await engine.process.kill()
      dead = engine
    }
  }
  const error = await read().then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof APIError, `after ${chunks} chunks: ${error ?? 'a clean end'}`)
  assert.equal(error.code, 'pod_closed_early')
  for (const result of await settled) {
    assert.equal(result.status, 'fulfilled', result.status === 'rejected' ? String(result.reason) : '')
    if (result.status !== 'fulfilled') continue
    assert.equal(result.value.data.usage?.completion_tokens, 200)
    assert.notEqual(result.value.response.headers.get('x-phyllo-pod'), engine.name)
  }
  return `${engine.name} killed, the client told after ${chunks} chunks, ${waiting.length} other requests answered`
}

async function othersAnswer({ client, engines }: Fleet): Promise<string> {
  const left = engines.vllm.filter(engine => engine !== dead)
  // Different prompts: some would have gone to the dead pod, by load or by turn.
  for (let i = 0; i < 8; i++) {
    const { data, response } = await client.completions
      .create({ model: VLLM_MODEL, prompt: `${i} green bottles`, max_tokens: 2 })
      .withResponse()
    assert.equal(data.usage?.completion_tokens, 2)
    assert.equal(engineNamed(engines, response.headers.get('x-phyllo-pod')), left[0])
  }
  return `8 by ${left.map(({ name }) => name).join()}`
}

async function modelsStay({ router }: Fleet): Promise<undefined> {
  const expected = [LLAMACPP_MODEL, VLLM_MODEL].sort()
  assert.deepEqual((await modelNames(router.url)).sort(), expected)
  await until(20_000, 'the router finds the pod out of service', async () => {
    const page = await (await fetch(`${router.adminUrl}/pods`)).text()
    return page.includes('"healthy": false') || undefined
  })
  assert.deepEqual((await modelNames(router.url)).sort(), expected)
  return undefined
}

async function otherModelAnswers({ client }: Fleet): Promise<undefined> {
  const prompt = 'Still there?'
  const { usage } = await client.completions.create({ model: LLAMACPP_MODEL, prompt, max_tokens: 2 })
  assert.equal(usage?.completion_tokens, 2)
  return undefined
}

export const podLossCases: readonly FleetCase[] = [
  {
    name: 'a pod killed mid-stream: its stream ends with an error, what had not begun is done by the other',
    run: killMidStream,
  },
  { name: 'while a pod is dead, the other answers its requests', run: othersAnswer },
  { name: '/v1/models lists both models while a pod is dead', run: modelsStay },
  { name: 'the other model is served as before', run: otherModelAnswers },
]
