/** The generic two-step: a hint by the router at who has computed a prompt, which costs a cache miss at worst. */
import test from 'ava'
import { writeHint } from '#phyllo/execution/hand-off/generic.js'
import type { RunningEngine } from '#phyllo/simulation/engine/http.js'
import { at, post, until } from '../kit.js'
import { body, isClean, leg, pairFor, textOf } from './kit.js'

const hintAt = ({ url }: Pick<RunningEngine, 'url'>): string => writeHint({ pod: 'p', origin: url })
const header = (hint: string): Record<string, string> => ({ 'x-phyllo-cache-hint': hint })
const cachedIn = (json: unknown): number =>
  Number(at(json, 'usage', 'prompt_tokens_details', 'cached_tokens'))

test('a hint in the header or the body saves the decode engine the prompt’s full blocks, any number of times', async t => {
  const { prefill, decode } = await pairFor(t, 'generic')
  const hint = hintAt(prefill)
  let remote = 0
  for (const place of ['header', 'body']) {
    const request = body()
    await leg(prefill, { ...request, max_tokens: 1 })
    const hinted = (): ReturnType<typeof leg> =>
      place === 'header'
        ? leg(decode, request, header(hint))
        : leg(decode, { ...request, phyllo_cache_hint: JSON.parse(hint) })
    const answer = await hinted()
    t.is(answer.status, 200, answer.message)
    const tokens = Number(at(answer.json, 'usage', 'prompt_tokens'))
    remote += Math.floor((tokens - 1) / 16) * 16
    t.is(decode.stats().remoteTokens, remote)
    t.is(cachedIn(answer.json), 0, 'the prefill computed all of it')
    t.true(cachedIn((await hinted()).json) > 0)
    t.is(textOf(answer.json), textOf((await leg(prefill, request)).json))
  }
  t.like(decode.handOffs(), { received: 2, missed: 0, rejected: 0 }, 'the second time it was here already')
  t.true(isClean(prefill) && isClean(decode))
})

test('what the prefill had cached is what the usage tells, and its answer has no hint of its own', async t => {
  const { prefill, decode } = await pairFor(t, 'generic')
  const request = body()
  await leg(prefill, { ...request, max_tokens: 1 })
  const again = await leg(prefill, { ...request, max_tokens: 1 })
  t.true(cachedIn(again.json) > 200)
  t.false(Object.keys(again.json ?? {}).some(name => name.includes('hint')))
  const answer = await leg(decode, request, header(hintAt(prefill)))
  t.is(cachedIn(answer.json), cachedIn(again.json))
})

test('a bad hint costs a cache miss and nothing else', async t => {
  const { prefill, decode } = await pairFor(t, 'generic')
  const other = await pairFor(t, 'nixl')
  const sized = await pairFor(t, 'generic', { blockSize: 32 })
  const request = body()
  const whole = textOf((await leg(prefill, request)).json)
  const good = hintAt(prefill)
  const bad: readonly string[] = [
    'text',
    '7',
    '{}',
    good.replace('"version":1', '"version":2'),
    good.slice(0, -1),
    hintAt({ url: 'http://127.0.0.1:1' }),
    hintAt({ url: 'no url' }),
    hintAt(other.prefill),
    hintAt(sized.prefill),
    good.padEnd(5000),
  ]
  for (const [at, hint] of bad.entries()) {
    // A cache of its own for each, so that none is served by the one before.
    const answer = await leg(decode, { ...request, cache_salt: `salt ${at}` }, header(hint))
    t.is(answer.status, 200, hint)
    t.is(textOf(answer.json), whole)
  }
  t.like(decode.handOffs(), { received: 0, missed: bad.length, rejected: 0 })
  t.is(decode.stats().remoteTokens, 0)
})

test('a hint to blocks that are there no more is a miss', async t => {
  const { prefill, decode } = await pairFor(t, 'generic')
  const request = body()
  await leg(prefill, { ...request, max_tokens: 1 })
  await until(() => isClean(prefill))
  await post(prefill, '/reset_prefix_cache', '')
  t.is((await leg(decode, request, header(hintAt(prefill)))).status, 200)
  t.like(decode.handOffs(), { received: 0, missed: 1 })
})
