/** The generic two-step: a hint that is opaque, and costs a cache miss at worst. */
import test from 'ava'
import { at, post, until } from '../kit.js'
import { body, isClean, leg, pairFor, textOf } from './kit.js'

test('the hint of a prefill saves the decode engine the prompt’s full blocks, any number of times', async t => {
  const { prefill, decode } = await pairFor(t, 'generic')
  const request = body()
  const first = await leg(prefill, { ...request, max_tokens: 1 })
  const hint = at(first.json, 'cache_hint')
  t.is(at(hint, 'version'), 1)
  const answer = await leg(decode, { ...request, cache_hint: hint })
  t.is(answer.status, 200)
  const tokens = Number(at(answer.json, 'usage', 'prompt_tokens'))
  t.is(decode.stats().remoteTokens, Math.floor((tokens - 1) / 16) * 16)
  t.is((await leg(decode, { ...request, cache_hint: hint })).status, 200)
  t.like(decode.handOffs(), { received: 1, missed: 0, rejected: 0 }, 'the second time it was here already')
  t.is(textOf(answer.json), textOf((await leg(prefill, request)).json))
  t.true(isClean(prefill) && isClean(decode))
})

test('a bad hint costs a cache miss and nothing else', async t => {
  const { prefill, decode } = await pairFor(t, 'generic')
  const request = body()
  const whole = textOf((await leg(prefill, request)).json)
  const hint = at((await leg(prefill, { ...request, max_tokens: 1 })).json, 'cache_hint')
  const data = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const nowhere = { url: 'http://127.0.0.1:1', engine: 'x', blockSize: 16 }
  const url = `http://127.0.0.1:${prefill.kvAddress?.port}`
  const bad: unknown[] = [
    'text',
    7,
    {},
    { version: 2, data: at(hint, 'data') },
    { version: 1, data: '!' },
    { version: 1, data: data({}) },
    { version: 1, data: data(nowhere) },
    { version: 1, data: data({ ...nowhere, url }) },
    { version: 1, data: data({ ...nowhere, url, blockSize: 32 }) },
  ]
  for (const [at, cache_hint] of bad.entries()) {
    // A cache of its own for each, so that none is served by the one before.
    const answer = await leg(decode, { ...request, cache_salt: `salt ${at}`, cache_hint })
    t.is(answer.status, 200, JSON.stringify(cache_hint))
    t.is(textOf(answer.json), whole)
  }
  t.like(decode.handOffs(), { received: 0, missed: bad.length, rejected: 0 })
  t.is(decode.stats().remoteTokens, 0)
})

test('a hint to blocks that are there no more is a miss', async t => {
  const { prefill, decode } = await pairFor(t, 'generic')
  const request = body()
  const hint = at((await leg(prefill, { ...request, max_tokens: 1 })).json, 'cache_hint')
  await until(() => isClean(prefill))
  await post(prefill, '/reset_prefix_cache', '')
  t.is((await leg(decode, { ...request, cache_hint: hint })).status, 200)
  t.like(decode.handOffs(), { received: 0, missed: 1 })
})
