/**
 * How long a prefill's blocks wait for the pull. The lease (`kv_lease_duration`, 30 s unless configured) runs from the end of
 * the prefill; a decode engine that has the request queued renews it. The end of a pull ends it at once.
 *
 * Nothing guards what comes after. vLLM 0.32 reads the blocks that the hand-off names, whatever is in them by then: 200, a
 * fluent answer to another prompt, and in the decode engine's prefix cache those blocks under this prompt's hash, so that
 * later requests with that prefix are wrong as well until the cache is reset or the blocks are evicted. The same goes for a
 * hand-off used twice: right only by chance. A router must therefore never send a hand-off
 * - that was sent before, in any try, to any decode pod, unless the first try is known not to have pulled;
 * - older than the lease, less what the decode leg takes to get to its engine.
 */
import assert from 'node:assert/strict'
import { setTimeout } from 'node:timers/promises'
import { until } from '../../harness.js'
import { LEASE_SECONDS } from '../fleet.js'
import { decodeLeg, handOffOf } from '../legs.js'
import {
  alone,
  assertWhole,
  COMPLETIONS,
  type Context,
  completion,
  heldBlocks,
  overwriteCache,
  type PairCase,
  resetPrefixCache,
} from './context.js'

/** For an engine on a machine that others keep busy, and for metrics, which follow its steps. */
const NOTICE_MS = 20_000
/** Blocks of a prompt of 170 tokens. */
const HELD = 6

/** How long it takes until the prefill engine holds nothing any more, ms. */
async function freed({ pair }: Context): Promise<number> {
  const started = performance.now()
  await until(NOTICE_MS, 'the prefill engine holds no blocks', async () => {
    return (await heldBlocks(pair.prefill)) === 0 || undefined
  })
  return Math.round(performance.now() - started)
}

async function neverPulled(context: Context): Promise<string> {
  await handOffOf(context.pair, COMPLETIONS, completion('Gina writes:'))
  assert.equal(await heldBlocks(context.pair.prefill), HELD)
  const ms = await freed(context)
  // The metric is asked a moment after the lease began.
  assert.ok(ms > (LEASE_SECONDS - 2) * 1_000, `freed after ${ms} ms`)
  return `${HELD} blocks held for ${ms} ms, the lease is ${LEASE_SECONDS} s`
}

async function pulled(context: Context): Promise<string> {
  const body = completion('Hugo writes:')
  const handOff = await handOffOf(context.pair, COMPLETIONS, body)
  assertWhole(await decodeLeg(context.pair.decode, COMPLETIONS, body, handOff))
  return `free ${await freed(context)} ms after the answer`
}

/** At whatever moment: on its way, queued, pulling, writing. */
async function aborted(context: Context): Promise<string> {
  const { pair } = context
  const took: number[] = []
  for (const afterMs of [1, 5, 15, 40]) {
    const body = completion(`Ida waits ${afterMs} ms:`, { max_tokens: 1_500, ignore_eos: true })
    const handOff = await handOffOf(pair, COMPLETIONS, body)
    const signal = AbortSignal.timeout(afterMs)
    await assert.rejects(decodeLeg(pair.decode, COMPLETIONS, body, handOff, signal))
    took.push(await freed(context))
  }
  const { text } = await alone(pair.decode, COMPLETIONS, completion('Is it free?'))
  assert.ok(text.length > 0)
  return `free after ${took.join(', ')} ms`
}

async function twice({ pair }: Context): Promise<undefined> {
  const body = completion('Jack writes:')
  const handOff = await handOffOf(pair, COMPLETIONS, body)
  const first = await decodeLeg(pair.decode, COMPLETIONS, body, handOff)
  assertWhole(first)
  await resetPrefixCache(pair.decode)
  // Freed, not yet overwritten.
  const second = await decodeLeg(pair.decode, COMPLETIONS, body, handOff)
  assertWhole(second)
  assert.equal(second.text, first.text)
  await resetPrefixCache(pair.decode)
  await overwriteCache(pair.prefill, 'After Jack')
  const third = await decodeLeg(pair.decode, COMPLETIONS, body, handOff)
  assertWhole(third)
  assert.notEqual(third.text, first.text)
  await resetPrefixCache(pair.decode)
  return undefined
}

async function expired({ pair }: Context): Promise<string> {
  const body = completion('Kate writes:')
  const right = await alone(pair.prefill, COMPLETIONS, body)
  const handOff = await handOffOf(pair, COMPLETIONS, body)
  await setTimeout((LEASE_SECONDS + 2) * 1_000)
  await overwriteCache(pair.prefill, 'After Kate')
  const wrong = await decodeLeg(pair.decode, COMPLETIONS, body, handOff)
  assertWhole(wrong)
  assert.notEqual(wrong.text, right.text)
  const poisoned = await alone(pair.decode, COMPLETIONS, body)
  assert.ok((poisoned.cachedTokens ?? 0) > 0, 'it is in the decode engine’s cache')
  assert.notEqual(poisoned.text, right.text)
  await resetPrefixCache(pair.decode)
  assert.equal((await alone(pair.decode, COMPLETIONS, body)).text, right.text)
  return `200 after ${wrong.ms} ms, with another answer; so is the next one without a hand-off`
}

export const leaseCases: readonly PairCase[] = [
  { name: 'blocks that nobody pulls are held for the lease', run: neverPulled },
  { name: 'blocks that were pulled are free at once', run: pulled },
  { name: 'a decode leg that is aborted frees the blocks at once', run: aborted },
  { name: 'a hand-off used twice is read twice: right by chance, wrong once overwritten', run: twice },
  { name: 'an expired hand-off is read all the same: a wrong answer, and a poisoned cache', run: expired },
]
