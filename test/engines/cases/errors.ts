/** Errors: the router's own where it must know better, the engine's unchanged everywhere else. */
import assert from 'node:assert/strict'
import { APIError, NotFoundError } from 'openai'
import { VLLM_MODEL } from '../engine.js'
import { LLAMACPP_MODEL } from '../engines.js'
import { enginesOf, type Fleet, type FleetCase, post } from '../fleet.js'

interface Faulty {
  readonly name: string
  readonly path: string
  readonly body: object
  readonly status?: number
}

const messages = [{ role: 'user', content: 'Hello.' }]
const chatPath = '/v1/chat/completions'
const model = VLLM_MODEL

/** Requests that only an engine can judge. */
const faults: readonly Faulty[] = [
  {
    name: 'a prompt too long',
    path: '/v1/completions',
    body: { model, prompt: 'far '.repeat(5000) },
    status: 400,
  },
  {
    name: 'max_tokens too large',
    path: chatPath,
    body: { model, messages, max_tokens: 99_999 },
    status: 400,
  },
  { name: 'a temperature below 0', path: chatPath, body: { model, messages, temperature: -1 }, status: 400 },
  { name: 'a field of a wrong type', path: chatPath, body: { model, messages, top_p: 'much' }, status: 400 },
  {
    name: 'an unknown tool choice',
    path: chatPath,
    body: { model, messages, tool_choice: 'x' },
    status: 400,
  },
  { name: 'a token id out of range', path: '/v1/completions', body: { model, prompt: [1e6] }, status: 400 },
  { name: 'embeddings of a model that has none', path: '/v1/embeddings', body: { model, input: 'Hello.' } },
  {
    name: 'embeddings of a llama.cpp without them',
    path: '/v1/embeddings',
    body: { model: LLAMACPP_MODEL, input: 'Hello.' },
  },
]

async function passedThrough({ engines, router }: Fleet, fault: Faulty): Promise<string> {
  const named = JSON.stringify(fault.body).includes(`"${LLAMACPP_MODEL}"`) ? LLAMACPP_MODEL : VLLM_MODEL
  const [engine] = enginesOf(engines, named)
  assert.ok(engine)
  const direct = await post(engine.url, fault.path, fault.body)
  const routed = await post(router.url, fault.path, fault.body)
  assert.ok(direct.status >= 400, `the engine answers ${direct.status}`)
  if (fault.status !== undefined) assert.equal(direct.status, fault.status, direct.text)
  assert.equal(routed.status, direct.status, routed.text)
  assert.equal(routed.text, direct.text)
  assert.notEqual(routed.pod, null)
  return `${direct.status}`
}

async function unknownModel({ client }: Fleet): Promise<undefined> {
  const create = client.chat.completions.create({
    model: 'no-such-model',
    messages: [{ role: 'user', content: 'Hello.' }],
  })
  const error = await create.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof NotFoundError, String(error))
  assert.equal(error.code, 'model_not_found')
  // The router's own answer: no pod was asked.
  assert.equal(error.headers?.get('x-phyllo-pod') ?? null, null)
  return undefined
}

async function badJson({ router, client }: Fleet): Promise<undefined> {
  const answer = await post(router.url, chatPath, '{"model": "tiny", "messages": [')
  assert.equal(answer.status, 400)
  assert.match(answer.text, /"bad_json"/)
  assert.equal(answer.pod, null)
  // And the client's own error class is what its users expect.
  const create = client.chat.completions.create({ model, messages: [], max_completion_tokens: 1 })
  const error = await create.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  assert.ok(error instanceof APIError && error.status === 400, String(error))
  return undefined
}

export const errorCases: readonly FleetCase[] = [
  { name: 'an unknown model is 404 by the router', run: unknownModel },
  { name: 'bad JSON is 400 by the router', run: badJson },
  ...faults.map(
    (fault): FleetCase => ({
      name: `the engine's own error is passed through: ${fault.name}`,
      run: fleet => passedThrough(fleet, fault),
    }),
  ),
]
