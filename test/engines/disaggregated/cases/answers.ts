/** The answer of two pods is word for word that of one, and so are its counts. */
import assert from 'node:assert/strict'
import type { Body, Path } from '../legs.js'
import {
  alone,
  assertWhole,
  CHAT,
  COMPLETIONS,
  type Context,
  chat,
  completion,
  type PairCase,
} from './context.js'

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
  // Of all tokens, the first one too, which the prefill wrote as well. The first time, an engine compiles something for it.
  { name: 'log probabilities', path: COMPLETIONS, body: completion('Doug writes:', { logprobs: 1 }) },
  // Nothing of it is a whole block, and it is pulled all the same.
  { name: 'less than a block', path: COMPLETIONS, body: completion('', { prompt: 'Eve.', ...stream }) },
]

async function sameAnswer({ pair, send }: Context, { path, body }: Asked): Promise<string> {
  const two = await send(path, body)
  assertWhole(two)
  // Afterwards, so that both legs above were computed and handed over, not found in the prefix cache.
  const one = await alone(pair.prefill, path, body)
  assertWhole(one)
  assert.equal(two.text, one.text)
  assert.equal(two.promptTokens, one.promptTokens)
  assert.equal(two.completionTokens, one.completionTokens)
  assert.deepEqual(two.tokens, one.tokens)
  assert.equal(two.tokens.length, body['logprobs'] === 1 ? two.completionTokens : 0)
  // Nobody had any of it; the tokens pulled do not count as cached.
  assert.equal(two.cachedTokens, 0)
  return `${two.promptTokens} tokens in ${two.ms} ms`
}

export const answerCases: readonly PairCase[] = asked.map(each => ({
  name: `two pods say what one says: ${each.name}`,
  run: context => sameAnswer(context, each),
}))
