/**
 * A hand-off that nobody takes in time. The engines read what is in the blocks by then and answer 200 (../cases/leases.ts),
 * so all rests on the router: decode is sent right behind the prefill, and a second try begins with a prefill of its own.
 */
import assert from 'node:assert/strict'
import { type Engine, metric } from '../../../engine.js'
import { alone, COMPLETIONS, completion, counted, overwriteCache } from '../../cases/context.js'
import { LEASE_SECONDS } from '../../fleet.js'
import type { RoutedFleet } from '../fleet.js'
import { assertRight, idle, inDecode, type RoutedCase, whileFrozen } from './context.js'

const EXPIRED = 'vllm:nixl_num_kv_expired_reqs_total'
/** Pulls that came after the lease. */
const LATE = 'vllm:nixl_num_notifications_after_expiry_total'
const FAILED = 'vllm:nixl_num_failed_transfers_total'

/** Of all requests before this case, aborts among them, none read blocks that were not its own. */
async function noneLate({ pair }: RoutedFleet): Promise<undefined> {
  assert.equal(await counted(pair.prefill, LATE), 0)
  assert.equal(await metric(pair.decode, FAILED), 0)
  return undefined
}

async function frozenPastTheLease(fleet: RoutedFleet): Promise<string> {
  const { prefill, decode } = fleet.pair
  const body = completion('Olga writes:', { stream: true, stream_options: { include_usage: true } })
  const expired = await counted(prefill, EXPIRED)
  const said = await whileFrozen(decode, async () => {
    const answer = fleet.send(COMPLETIONS, body)
    await inDecode(fleet, 'decode', 1)
    // From now on the second try may go elsewhere; before, the first one might have.
    await fleet.cordon('spare', false)
    const told = await answer
    assert.equal(told.pod, 'spare')
    assert.ok(told.ms > LEASE_SECONDS * 1_000, `answered after ${told.ms} ms, within the lease`)
    await assertRight(told, prefill, COMPLETIONS, body)
    // The first hand-off's blocks become another prompt's, while the engine that was to pull them still sleeps.
    await overwriteCache(prefill, 'After Olga')
    return told
  }).finally(() => fleet.cordon('spare', true))
  assert.equal((await fleet.decision(said.id)).outcome.attempts, 2)
  // The first hand-off ran out, the second was taken.
  assert.equal(await counted(prefill, EXPIRED), expired + 1)
  return `by spare after ${said.ms} ms, with a prefill of its own${await awake(fleet, decode)}`
}

/** The engine finds the request and the end of its connection at once. Whether it still pulls, nobody but it decides. */
async function awake({ pair }: RoutedFleet, decode: Engine): Promise<string> {
  await idle(decode)
  const late = await counted(pair.prefill, LATE)
  const body = completion('Olga writes:')
  const right = await alone(pair.prefill, COMPLETIONS, body)
  const said = await alone(decode, COMPLETIONS, body)
  assert.equal(said.text, right.text)
  return `; awake, the first pod pulled ${late} times, and has ${said.cachedTokens} tokens of it`
}

export const staleCases: readonly RoutedCase[] = [
  { name: 'no pull of all of these failed or came late', run: noneLate },
  {
    name: 'a decode pod that sleeps past the lease: the next try begins with a prefill',
    run: frozenPastTheLease,
  },
]
