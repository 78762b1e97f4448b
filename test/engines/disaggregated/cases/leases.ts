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
  counted,
  heldBlocks,
  overwriteCache,
  type PairCase,
  resetPrefixCache,
} from './context.js'

/** For an engine on a machine that others keep busy, and for metrics, which follow its steps. */
const NOTICE_MS = 20_000
/** Blocks of a prompt of 170 tokens. */
const HELD = 6

/** Leases that ended without a pull. */
const EXPIRED = 'vllm:nixl_num_kv_expired_reqs_total'
/** Pulls that were reported when there was no lease any more: each may have read blocks of another prompt. */
const LATE = 'vllm:nixl_num_notifications_after_expiry_total'

/** How long it takes until the prefill engine holds nothing any more, ms. */
async function freed({ pair }: Context): Promise<number> {
  const started = performance.now()
  await until(NOTICE_MS, 'the prefill engine holds no blocks', async () => {
    return (await heldBlocks(pair.prefill)) === 0 || undefined
  })
  return Math.round(performance.now() - started)
}

async function neverPulled(context: Context): Promise<string> {
  const before = await counted(context.pair.prefill, EXPIRED)
  await handOffOf(context.pair, COMPLETIONS, completion('Gina writes:'))
  assert.equal(await heldBlocks(context.pair.prefill), HELD)
  const ms = await freed(context)
  assert.equal(await counted(context.pair.prefill, EXPIRED), before + 1)
  return `${HELD} blocks held for ${ms} ms, the lease is ${LEASE_SECONDS} s`
}

async function pulled(context: Context): Promise<string> {
  const before = await counted(context.pair.prefill, EXPIRED)
  const body = completion('Hugo writes:')
  const handOff = await handOffOf(context.pair, COMPLETIONS, body)
  assertWhole(await decodeLeg(context.pair.decode, COMPLETIONS, body, handOff))
  const ms = await freed(context)
  assert.equal(await counted(context.pair.prefill, EXPIRED), before, 'the lease ran out')
  return `free ${ms} ms after the answer`
}

/**
 * At whatever moment: queued, pulling, writing. (An abort before the request is out leaves the lease to run out; on a busy
 * machine that may happen to the first ones here.)
 */
async function aborted(context: Context): Promise<string> {
  const { pair } = context
  const took: number[] = []
  let before = 0
  for (const afterMs of [1, 5, 15, 40, 200, 400]) {
    // The last two are surely out.
    if (afterMs === 200) before = await counted(pair.prefill, EXPIRED)
    const body = completion(`Ida waits ${afterMs} ms:`, { max_tokens: 1_500, ignore_eos: true })
    const handOff = await handOffOf(pair, COMPLETIONS, body)
    const signal = AbortSignal.timeout(afterMs)
    await assert.rejects(decodeLeg(pair.decode, COMPLETIONS, body, handOff, signal))
    took.push(await freed(context))
  }
  assert.equal(await counted(pair.prefill, EXPIRED), before, 'the lease ran out')
  assertWhole(await alone(pair.decode, COMPLETIONS, completion('Is it free?')))
  return `free after ${took.join(', ')} ms`
}

/** What prefill can't see, having been told to write one token. */
async function refusedByDecode(context: Context): Promise<string> {
  const { pair } = context
  const before = await counted(pair.prefill, EXPIRED)
  const body = completion('Joan writes:', { max_tokens: 99_999 })
  const handOff = await handOffOf(pair, COMPLETIONS, body)
  const said = await decodeLeg(pair.decode, COMPLETIONS, body, handOff)
  assert.equal(said.status, 400, said.text)
  const ms = await freed(context)
  assert.equal(await counted(pair.prefill, EXPIRED), before, 'the lease ran out')
  return `400, free ${ms} ms after it`
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
  const before = await counted(pair.prefill, LATE)
  const third = await decodeLeg(pair.decode, COMPLETIONS, body, handOff)
  assertWhole(third)
  assert.notEqual(third.text, first.text)
  assert.equal(await counted(pair.prefill, LATE), before + 1)
  await resetPrefixCache(pair.decode)
  return undefined
}

async function expired({ pair }: Context): Promise<string> {
  const body = completion('Kate writes:')
  const right = await alone(pair.prefill, COMPLETIONS, body)
  const handOff = await handOffOf(pair, COMPLETIONS, body)
  await setTimeout((LEASE_SECONDS + 2) * 1_000)
  await overwriteCache(pair.prefill, 'After Kate')
  const before = await counted(pair.prefill, LATE)
  const wrong = await decodeLeg(pair.decode, COMPLETIONS, body, handOff)
  assertWhole(wrong)
  assert.notEqual(wrong.text, right.text)
  assert.equal(await counted(pair.prefill, LATE), before + 1)
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
  { name: 'a bad request that decode refuses frees the blocks at once', run: refusedByDecode },
  { name: 'a hand-off used twice is read twice: right by chance, wrong once overwritten', run: twice },
  { name: 'an expired hand-off is read all the same: a wrong answer, and a poisoned cache', run: expired },
]
