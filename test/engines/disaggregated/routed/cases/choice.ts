/** Which requests are split, by the decision log, and what the second time costs. */
import assert from 'node:assert/strict'
import { explain } from '../../../explain.js'
import { post } from '../../../fleet.js'
import { until } from '../../../harness.js'
import {
  alone,
  assertWhole,
  CHAT,
  COMPLETIONS,
  chat,
  completion,
  resetPrefixCache,
} from '../../cases/context.js'
import { NOTICE_MS, type RoutedFleet } from '../fleet.js'
import { type RoutedCase, STRAIGHT, TWO_PODS } from './context.js'

const again = completion('Hans writes:')
/** Of that prompt's tokens, those in whole blocks. */
const WHOLE_BLOCKS = 160

/** Until the router has heard what the decode pod holds of a prompt. */
const decodeHolds = ({ router }: RoutedFleet, tokens: number): Promise<true> =>
  until(NOTICE_MS, `the router knows of ${tokens} tokens on decode`, async () => {
    const { cachedTokens } = await explain(router, COMPLETIONS, again)
    return (cachedTokens['decode'] ?? 0) === tokens || undefined
  })

async function short(fleet: RoutedFleet): Promise<string> {
  const body = completion('', { prompt: 'Ilse writes a letter.' })
  const said = await fleet.send(COMPLETIONS, body)
  assertWhole(said)
  assert.equal(said.text, (await alone(fleet.pair.prefill, COMPLETIONS, body)).text)
  assert.equal(said.pod, 'decode')
  const way = await fleet.way(said.id)
  assert.match(way, STRAIGHT)
  return way
}

async function cachedWhereDecoded(fleet: RoutedFleet): Promise<string> {
  const first = await fleet.send(COMPLETIONS, again)
  assertWhole(first)
  assert.equal(first.cachedTokens, 0)
  assert.match(await fleet.way(first.id), TWO_PODS)
  await decodeHolds(fleet, WHOLE_BLOCKS)
  const second = await fleet.send(COMPLETIONS, again)
  assertWhole(second)
  assert.equal(second.text, first.text)
  assert.equal(second.cachedTokens, WHOLE_BLOCKS)
  const way = await fleet.way(second.id)
  assert.match(way, STRAIGHT)
  return way
}

/** By KV events the router hears that decode has lost it; the prefill pod still has it. */
async function cachedWherePrefilled(fleet: RoutedFleet): Promise<string> {
  const right = await alone(fleet.pair.prefill, COMPLETIONS, again)
  await resetPrefixCache(fleet.pair.decode)
  // Its events go out with its next step.
  assertWhole(await alone(fleet.pair.decode, COMPLETIONS, completion('', { prompt: 'Step.' })))
  await decodeHolds(fleet, 0)
  const said = await fleet.send(COMPLETIONS, again)
  assertWhole(said)
  assert.equal(said.text, right.text)
  assert.equal(said.promptTokens, right.promptTokens)
  assert.equal(said.cachedTokens, WHOLE_BLOCKS)
  assert.match(await fleet.way(said.id), TWO_PODS)
  return `${said.cachedTokens} of ${said.promptTokens} tokens cached, by the prefill's count`
}

/** Greedy sampling takes no `n`; seeded, the two answers are the same on each engine. */
async function severalAnswers(fleet: RoutedFleet): Promise<string> {
  const prompt = String(completion('Jutta writes:')['prompt'])
  const [n, prompts] = [
    completion('Jutta writes:', { n: 2, temperature: 1, seed: 7, ignore_eos: true }),
    completion('', { prompt: [prompt, `${prompt} Or not.`] }),
  ]
  const ways: string[] = []
  for (const body of [n, prompts]) {
    const said = await fleet.send(COMPLETIONS, body)
    assertWhole(said)
    assert.equal(said.text, (await alone(fleet.pair.prefill, COMPLETIONS, body)).text)
    assert.equal(said.completionTokens, 24)
    assert.equal(said.pod, 'decode')
    ways.push(await fleet.way(said.id))
  }
  assert.match(ways[0] ?? '', /^whole: n is not 1/)
  assert.match(ways[1] ?? '', /^whole: .*prompts/)
  return ways.join('; ')
}

/** Refused by the prefill, and by decode for what prefill does not see: each time as an engine alone words it. */
async function refused(fleet: RoutedFleet): Promise<string> {
  const faults: [string, object][] = [
    ['prefill', { temperature: -1 }],
    ['prefill', { tool_choice: 'x' }],
    ['prefill', { messages: [{ role: 'user', content: 'far '.repeat(5_000) }] }],
    ['decode', { max_tokens: 99_999 }],
  ]
  for (const [pod, fault] of faults) {
    const body = chat('Karl asks:', { ...fault })
    const own = await post(fleet.pair.prefill.url, CHAT, body)
    const answer = await post(fleet.router.url, CHAT, body)
    assert.equal(answer.status, 400, answer.text)
    assert.equal(answer.text, own.text)
    assert.equal(answer.pod, pod, answer.text)
  }
  return `${faults.length} requests`
}

export const choiceCases: readonly RoutedCase[] = [
  { name: 'a short prompt goes straight to decode', run: short },
  { name: 'what decode has cached goes straight there', run: cachedWhereDecoded },
  {
    name: 'what decode has lost goes over the prefill pod, and counts as cached there',
    run: cachedWherePrefilled,
  },
  { name: 'n > 1 and several prompts are served by one pod', run: severalAnswers },
  { name: 'a bad request is answered 400 as the engine words it', run: refused },
]
