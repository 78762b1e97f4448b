/**
 * `cached_tokens` of the decode leg is not what the decode engine had: vLLM 0.32 puts the prefill's number there, which
 * comes with the hand-off (`remote_prefill_cached_tokens`). So a router that sends the hand-off verbatim has nothing to
 * correct, and can't learn from the answer what its decode pod had cached. Where the field is missing (older versions,
 * routers that pick fields), all that was pulled counts as cached: the whole prompt.
 */
import assert from 'node:assert/strict'
import { decodeLeg, prefillLeg } from '../legs.js'
import {
  assertWhole,
  COMPLETIONS,
  type Context,
  completion,
  type PairCase,
  resetPrefixCache,
} from './context.js'

const body = completion('Fred writes:')
/** Of that prompt's tokens, those in whole blocks. */
const WHOLE_BLOCKS = 160

async function counts({ pair }: Context, drop: boolean): Promise<{ prefill: number; decode: number }> {
  const first = await prefillLeg(pair, COMPLETIONS, body)
  assert.ok(first.handOff, first.text)
  const { remote_prefill_cached_tokens, ...rest } = first.handOff
  assert.equal(remote_prefill_cached_tokens, first.cachedTokens)
  const second = await decodeLeg(pair.decode, COMPLETIONS, body, drop ? rest : first.handOff)
  assertWhole(second)
  assert.equal(second.promptTokens, first.promptTokens)
  assert.ok(first.cachedTokens !== undefined && second.cachedTokens !== undefined)
  return { prefill: first.cachedTokens, decode: second.cachedTokens }
}

async function ofThePrefill(context: Context): Promise<string> {
  const { prefill, decode } = context.pair
  assert.deepEqual(await counts(context, false), { prefill: 0, decode: 0 }, 'neither had it')
  await resetPrefixCache(decode)
  const before = { prefill: WHOLE_BLOCKS, decode: WHOLE_BLOCKS }
  assert.deepEqual(await counts(context, false), before, 'prefill had it, decode not')
  await resetPrefixCache(prefill)
  assert.deepEqual(await counts(context, false), { prefill: 0, decode: 0 }, 'decode had it, prefill not')
  return `0, ${WHOLE_BLOCKS} and 0 tokens, as the prefill says`
}

async function withoutTheField(context: Context): Promise<string> {
  await resetPrefixCache(context.pair.decode)
  const { decode } = await counts(context, true)
  assert.ok(decode > WHOLE_BLOCKS, `${decode} tokens`)
  return `${decode} tokens, the whole prompt`
}

export const usageCases: readonly PairCase[] = [
  { name: "decode's cached_tokens are the prefill's", run: ofThePrefill },
  {
    name: 'without remote_prefill_cached_tokens, decode counts what it pulled as cached',
    run: withoutTheField,
  },
]
