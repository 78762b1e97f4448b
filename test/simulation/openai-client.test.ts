/** The official client works against the engine itself. */

import type { ExecutionContext } from 'ava'
import test from 'ava'
import OpenAI from 'openai'
import { engineFor } from './kit.js'

async function clientFor(t: ExecutionContext): Promise<OpenAI> {
  const engine = await engineFor(t)
  return new OpenAI({ baseURL: `${engine.url}/v1`, apiKey: 'none', maxRetries: 0 })
}

const weather = {
  type: 'function' as const,
  function: {
    name: 'weather',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'integer' }, unit: { enum: ['C', 'F'] } },
      required: ['city', 'unit'],
    },
  },
}

test('chat and stream', async t => {
  const client = await clientFor(t)
  const messages = [{ role: 'user' as const, content: 'hello' }]
  const whole = await client.chat.completions.create({ model: 'tiny', messages })
  const stream = client.chat.completions.stream({
    model: 'tiny',
    messages,
    stream_options: { include_usage: true },
  })
  const final = await stream.finalChatCompletion()
  t.is(final.choices[0]?.message.content, whole.choices[0]?.message.content)
  t.is(final.usage?.prompt_tokens, whole.usage?.prompt_tokens)
})

test('tools: required, named, asked for, and none', async t => {
  const client = await clientFor(t)
  const messages = [{ role: 'user' as const, content: 'anything' }]
  const ask = (fields: Partial<OpenAI.ChatCompletionCreateParamsNonStreaming>) =>
    client.chat.completions.create({ model: 'tiny', messages, tools: [weather], ...fields })
  const required = (await ask({ tool_choice: 'required' })).choices[0]
  t.is(required?.finish_reason, 'tool_calls')
  const call = required?.message.tool_calls?.[0]
  t.true(call?.type === 'function' && call.function.name === 'weather')
  const args: unknown = call?.type === 'function' ? JSON.parse(call.function.arguments) : null
  t.deepEqual(Object.keys(Object(args)), ['city', 'unit'], 'the required ones')
  const named = (await ask({ tool_choice: { type: 'function', function: { name: 'weather' } } })).choices[0]
  t.is(named?.finish_reason, 'stop')
  t.is(named?.message.tool_calls?.length, 1)
  t.is((await ask({ tool_choice: 'none' })).choices[0]?.message.tool_calls, undefined)
  t.is((await ask({})).choices[0]?.message.tool_calls, undefined, 'nobody asked')
  const asked = [{ role: 'user' as const, content: 'what will the weather be?' }]
  t.is((await ask({ messages: asked })).choices[0]?.message.tool_calls?.length, 1)

  const stream = client.chat.completions.stream({
    model: 'tiny',
    messages,
    tools: [weather],
    tool_choice: 'required',
  })
  const streamed = (await stream.finalChatCompletion()).choices[0]?.message.tool_calls?.[0]
  t.deepEqual(streamed?.type === 'function' ? JSON.parse(streamed.function.arguments) : null, args)
})

test('completions and embeddings', async t => {
  const client = await clientFor(t)
  const completion = await client.completions.create({ model: 'tiny', prompt: ['a', 'b'], max_tokens: 5 })
  t.is(completion.choices.length, 2)
  // The client asks for base64 by itself and decodes it.
  const [a, b, again] = (await client.embeddings.create({ model: 'tiny', input: ['a', 'b', 'a'] })).data
  const plain = await client.embeddings.create({ model: 'tiny', input: 'a', encoding_format: 'float' })
  t.deepEqual(a?.embedding, again?.embedding)
  t.deepEqual(a?.embedding, plain.data[0]?.embedding)
  t.notDeepEqual(a?.embedding, b?.embedding)
  t.true(Math.abs(Math.hypot(...(a?.embedding ?? [])) - 1) < 1e-5)
  const short = await client.embeddings.create({ model: 'tiny', input: 'a', dimensions: 3 })
  t.is(short.data[0]?.embedding.length, 3)
})

test('responses: create, get, continue, stream, tools', async t => {
  const client = await clientFor(t)
  const first = await client.responses.create({ model: 'tiny', input: 'hi', instructions: 'be kind' })
  t.true(first.output_text.length > 0)
  t.is((await client.responses.retrieve(first.id)).output_text, first.output_text)
  const next = { model: 'tiny', input: 'more', previous_response_id: first.id }
  const whole = await client.responses.create(next)
  const types: string[] = []
  const numbers: number[] = []
  let text = ''
  for await (const event of await client.responses.create({ ...next, stream: true })) {
    types.push(event.type)
    numbers.push(event.sequence_number)
    if (event.type === 'response.output_text.delta') text += event.delta
  }
  t.is(text, whole.output_text)
  t.deepEqual(
    types.filter((type, at) => type !== types[at - 1]),
    [
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ],
  )
  t.deepEqual(
    numbers,
    numbers.map((_, at) => at),
  )
  const tools = [
    { type: 'function' as const, name: 'weather', parameters: weather.function.parameters, strict: false },
  ]
  const called = await client.responses.create({ model: 'tiny', input: 'x', tools, tool_choice: 'required' })
  const item = called.output[0]
  t.true(item?.type === 'function_call' && item.name === 'weather')
  const output = { type: 'function_call_output' as const, call_id: 'c', output: 'rain' }
  const answered = await client.responses.create({
    model: 'tiny',
    input: [output],
    previous_response_id: called.id,
  })
  t.true(answered.output_text.length > 0)
})

test('errors arrive as the client’s own classes', async t => {
  const client = await clientFor(t)
  const messages = [{ role: 'user' as const, content: 'x' }]
  await t.throwsAsync(client.chat.completions.create({ model: 'nope', messages }), {
    instanceOf: OpenAI.NotFoundError,
  })
  await t.throwsAsync(client.chat.completions.create({ model: 'tiny', messages: [] }), {
    instanceOf: OpenAI.BadRequestError,
  })
  await t.throwsAsync(client.responses.retrieve('resp_nope'), { instanceOf: OpenAI.NotFoundError })
  const models = await client.models.list()
  t.deepEqual(
    models.data.map(model => model.id),
    ['tiny'],
  )
})
