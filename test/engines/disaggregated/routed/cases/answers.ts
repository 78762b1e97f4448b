/** Through the router, two pods say word for word what one says, and count as it does. */
import assert from 'node:assert/strict'
import { VLLM_MODEL } from '../../../engine.js'
import { alone, assertWhole, CHAT, COMPLETIONS, chat, completion } from '../../cases/context.js'
import type { Body, Path } from '../../legs.js'
import type { RoutedFleet } from '../fleet.js'
import { type RoutedCase, TWO_PODS } from './context.js'

interface Asked {
  readonly name: string
  readonly path: Path
  readonly body: Body
}

const stream = { stream: true, stream_options: { include_usage: true } }

const asked: readonly Asked[] = [
  { name: 'chat', path: CHAT, body: chat('Anna asks:') },
  { name: 'chat, streamed', path: CHAT, body: chat('Bert asks:', stream) },
  { name: 'completion', path: COMPLETIONS, body: completion('Carl writes:') },
  { name: 'completion, streamed', path: COMPLETIONS, body: completion('Dora writes:', stream) },
  // What the prefill leg must leave out, and what it must not.
  {
    name: 'min_tokens, tools and a client’s own kv_transfer_params',
    path: CHAT,
    body: chat('Emil asks:', {
      min_tokens: 12,
      tools: [{ type: 'function', function: { name: 'weather', parameters: { type: 'object' } } }],
      kv_transfer_params: { do_remote_prefill: true },
    }),
  },
]

async function sameAnswer(fleet: RoutedFleet, { path, body }: Asked): Promise<string> {
  const two = await fleet.send(path, body)
  assertWhole(two)
  // Afterwards, so that both legs above were computed and handed over, not found in the prefix cache.
  const { kv_transfer_params: _, ...own } = body
  const one = await alone(fleet.pair.prefill, path, own)
  assertWhole(one)
  assert.equal(two.text, one.text)
  assert.equal(two.promptTokens, one.promptTokens)
  assert.equal(two.completionTokens, one.completionTokens)
  // Nobody had any of it; the tokens pulled do not count as cached.
  assert.equal(two.cachedTokens, 0)
  assert.equal(two.pod, 'decode')
  assert.match(await fleet.way(two.id), TWO_PODS)
  return `${two.promptTokens} tokens in ${two.ms} ms`
}

async function openaiClient({ client, prefillClient }: RoutedFleet): Promise<undefined> {
  const prompt = String(completion('Fred writes:')['prompt'])
  const ask = { model: VLLM_MODEL, prompt, max_tokens: 12, temperature: 0 }
  const two = await client.completions.create(ask)
  const one = await prefillClient.completions.create(ask)
  assert.equal(two.choices[0]?.text, one.choices[0]?.text)
  assert.equal(two.usage?.prompt_tokens, one.usage?.prompt_tokens)
  assert.equal(two.usage?.completion_tokens, 12)
  return undefined
}

async function openaiStream({ client, prefillClient }: RoutedFleet): Promise<string> {
  const messages = [{ role: 'user' as const, content: String(completion('Gina asks:')['prompt']) }]
  const limits = { max_completion_tokens: 40, temperature: 0 }
  let [text, chunks, finish, total] = ['', 0, '', 0]
  const ask = { model: VLLM_MODEL, messages, ...limits }
  const told = await client.chat.completions.create({
    ...ask,
    stream: true,
    stream_options: { include_usage: true },
  })
  for await (const { choices, usage } of told) {
    chunks++
    text += choices[0]?.delta.content ?? ''
    finish = choices[0]?.finish_reason ?? finish
    total = usage?.completion_tokens ?? total
  }
  const one = await prefillClient.chat.completions.create(ask)
  assert.equal(text, one.choices[0]?.message.content)
  assert.deepEqual([finish, total], ['length', 40])
  assert.ok(chunks > 10, `came in ${chunks} chunks`)
  return `${chunks} chunks`
}

export const answerCases: readonly RoutedCase[] = [
  ...asked.map(
    (each): RoutedCase => ({
      name: `through the router, two pods say what one says: ${each.name}`,
      run: fleet => sameAnswer(fleet, each),
    }),
  ),
  { name: 'the official client: completion', run: openaiClient },
  { name: 'the official client: streamed chat', run: openaiStream },
]
