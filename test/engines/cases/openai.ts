/** The API as the official client uses it, on both kinds of engine. */
import assert from 'node:assert/strict'
import type OpenAI from 'openai'
import { VLLM_MODEL } from '../engine.js'
import { LLAMACPP_MODEL } from '../engines.js'
import { engineNamed, type Fleet, type FleetCase } from '../fleet.js'
import { weatherTool } from '../token-requests.js'

const models = [VLLM_MODEL, LLAMACPP_MODEL]
const question: OpenAI.ChatCompletionMessageParam[] = [
  { role: 'system', content: 'You are a geographer.' },
  { role: 'user', content: 'Which is the longest river of Europe?' },
]

async function chat({ client, engines }: Fleet, model: string): Promise<string> {
  const { data, response } = await client.chat.completions
    .create({ model, messages: question, max_completion_tokens: 12, temperature: 0 })
    .withResponse()
  const pod = response.headers.get('x-phyllo-pod')
  assert.equal(engineNamed(engines, pod).model, model)
  assert.match(response.headers.get('x-request-id') ?? '', /\S/)
  assert.equal(data.model, model)
  assert.equal(data.choices[0]?.message.role, 'assistant')
  assert.equal(data.choices[0]?.finish_reason, 'length')
  assert.equal(data.usage?.completion_tokens, 12)
  return `from ${pod}`
}

async function chatStream({ client, engines }: Fleet, model: string): Promise<string> {
  const stream_options = { include_usage: true }
  const { data: stream, response } = await client.chat.completions
    .create({ model, messages: question, max_completion_tokens: 40, stream: true, stream_options })
    .withResponse()
  assert.equal(engineNamed(engines, response.headers.get('x-phyllo-pod')).model, model)
  assert.match(response.headers.get('content-type') ?? '', /^text\/event-stream/)
  let chunks = 0
  let finish: string | null | undefined
  let usage: OpenAI.CompletionUsage | null | undefined
  for await (const chunk of stream) {
    chunks++
    finish = chunk.choices[0]?.finish_reason ?? finish
    usage = chunk.usage ?? usage
  }
  assert.equal(finish, 'length')
  assert.equal(usage?.completion_tokens, 40)
  assert.ok(chunks > 10, `came in ${chunks} chunks`)
  return `${chunks} chunks`
}

async function completions({ client, engines }: Fleet, model: string): Promise<undefined> {
  const { data, response } = await client.completions
    .create({ model, prompt: 'The longest river of Europe', max_tokens: 8, temperature: 0 })
    .withResponse()
  assert.equal(engineNamed(engines, response.headers.get('x-phyllo-pod')).model, model)
  assert.equal(data.object, 'text_completion')
  assert.equal(data.usage?.completion_tokens, 8)
  return undefined
}

async function completionStream({ client }: Fleet, model: string): Promise<undefined> {
  const stream = await client.completions.create({ model, prompt: 'Once', max_tokens: 8, stream: true })
  let finish: string | null | undefined
  for await (const chunk of stream) finish = chunk.choices[0]?.finish_reason ?? finish
  assert.equal(finish, 'length')
  return undefined
}

async function tools({ client }: Fleet, model: string): Promise<string> {
  const messages: OpenAI.ChatCompletionMessageParam[] = [{ role: 'user', content: 'Weather in Oslo?' }]
  const limits = { max_completion_tokens: 4, temperature: 0 }
  const plain = await client.chat.completions.create({ model, messages, ...limits })
  const tooled = await client.chat.completions.create({ model, messages, ...limits, tools: [weatherTool] })
  const [without = 0, having = 0] = [plain.usage?.prompt_tokens, tooled.usage?.prompt_tokens]
  assert.ok(having > without + 50, `the engine saw ${having} prompt tokens with a tool, ${without} without`)
  return `${having - without} prompt tokens for the tool`
}

async function responses({ client }: Fleet): Promise<string> {
  const { data, response } = await client.responses
    .create({ model: VLLM_MODEL, input: 'Which is the longest river?', max_output_tokens: 8 })
    .withResponse()
  const pod = response.headers.get('x-phyllo-pod')
  // Only the pod that made it knows it, so several asks would not all succeed by chance.
  for (let i = 0; i < 4; i++) {
    const again = await client.responses.retrieve(data.id).withResponse()
    assert.equal(again.data.id, data.id)
    assert.equal(again.response.headers.get('x-phyllo-pod'), pod)
  }
  return `kept by ${pod}`
}

async function listModels({ client }: Fleet): Promise<undefined> {
  const names: string[] = []
  for await (const model of client.models.list()) names.push(model.id)
  assert.deepEqual(names.sort(), [...models].sort())
  for (const name of models) assert.equal((await client.models.retrieve(name)).id, name)
  return undefined
}

const onBoth = (name: string, run: (fleet: Fleet, model: string) => Promise<string | undefined>) =>
  models.map((model): FleetCase => ({ name: `${name} (${model})`, run: fleet => run(fleet, model) }))

export const openaiCases: readonly FleetCase[] = [
  { name: '/v1/models lists the models of all pods', run: listModels },
  ...onBoth('chat completion', chat),
  ...onBoth('streamed chat completion with usage', chatStream),
  ...onBoth('completion', completions),
  ...onBoth('streamed completion', completionStream),
  ...onBoth('tools in the request reach the engine', tools),
  { name: 'a response is fetched from the pod that made it', run: responses },
]
