/** A pod that dies: mid-stream the client is told, and everything else goes on with the pod that is left. */
import assert from 'node:assert/strict'
import { APIError } from 'openai'
import { type Engine, LLAMACPP_MODEL, metric, VLLM_MODEL } from '../engines.js'
import { engineNamed, type Fleet, type FleetCase } from '../fleet.js'
import { until } from '../harness.js'
import { modelNames } from '../router.js'

let dead: Engine | undefined

async function killMidStream({ client, engines }: Fleet): Promise<string> {
  const messages = [{ role: 'user' as const, content: 'Tell me a very long story.' }]
  const long = { model: VLLM_MODEL, messages, max_tokens: 3_000, ignore_eos: true, stream: true as const }
  const { data: stream, response } = await client.chat.completions.create(long).withResponse()
  const engine = engineNamed(engines, response.headers.get('x-phyllo-pod'))
  let chunks = 0
  const read = async (): Promise<void> => {
    for await (const _ of stream) if (++chunks === 5) await engine.process.kill()
  }
  const error = await read().then(
    () => undefined,
    (reason: unknown) => reason,
  )
  dead = engine
  assert.ok(error instanceof APIError, `after ${chunks} chunks: ${error ?? 'a clean end'}`)
  assert.equal(error.code, 'pod_closed_early')
  return `${engine.name} killed, told after ${chunks} chunks`
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

async function otherModelAnswers({ client, engines }: Fleet): Promise<undefined> {
  const prompt = 'Still there?'
  const { usage } = await client.completions.create({ model: LLAMACPP_MODEL, prompt, max_tokens: 2 })
  assert.equal(usage?.completion_tokens, 2)
  const [left] = engines.vllm.filter(engine => engine !== dead)
  assert.ok(left && (await metric(left, 'vllm:num_requests_running')) === 0)
  return undefined
}

export const podLossCases: readonly FleetCase[] = [
  { name: 'a pod killed mid-stream ends the stream with an error', run: killMidStream },
  { name: 'while a pod is dead, the other answers its requests', run: othersAnswer },
  { name: '/v1/models lists both models while a pod is dead', run: modelsStay },
  { name: 'the other model is served as before', run: otherModelAnswers },
]
