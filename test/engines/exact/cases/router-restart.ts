/** A router that joins warm engines: replay brings back all that it needs, or it says that it can't. */
import assert from 'node:assert/strict'
import { explain } from '../../explain.js'
import { type ExactCase, type ExactFleet, promptOf } from '../fleet.js'
import { empty } from './reset.js'

/** Prompts that the engine is sent while no router runs. */
const MEANWHILE = [40_000, 41_000, 42_000]
const TOKENS = 70

async function restart(fleet: ExactFleet, requests: number): Promise<string> {
  const [{ name: kept } = { name: '' }, other] = fleet.pods
  const before = await fleet.cache(kept)
  await fleet.stopRouter()
  if (other !== undefined) {
    for (const first of MEANWHILE) await fleet.sendPast(fleet.engine(other.name), first, TOKENS)
  }
  await fleet.startRouter()
  await fleet.allExact()
  const after = await fleet.cache(kept)
  assert.equal(after.blocks, before.blocks)
  assert.equal(after.sequence, before.sequence)
  if (other !== undefined) await holdsMeanwhile(fleet, other.name)
  const tally = await fleet.send(requests)
  tally.requireShare(1)
  return `${after.replayedBatches} batches replayed by ${kept}; then ${tally}`
}

async function holdsMeanwhile({ router, kind }: ExactFleet, pod: string): Promise<void> {
  const whole = Math.floor(TOKENS / kind.blockSize) * kind.blockSize
  for (const first of MEANWHILE) {
    const { cachedTokens, modes } = await explain(router, '/v1/completions', promptOf(first, TOKENS))
    assert.deepEqual([cachedTokens[pod], modes[pod]], [whole, 'exact'])
  }
}

/** The first engine's replay buffer no longer holds its first batches. */
async function joinLate(fleet: ExactFleet, requests: number): Promise<string> {
  const [late, other] = fleet.pods
  assert.ok(late && other)
  await fleet.stopRouter()
  await fleet.startRouter()
  const stale = await fleet.settled(
    late.name,
    'is stale',
    ({ mode, sequence }) => mode === 'stale' && sequence !== null,
  )
  await fleet.settled(other.name, 'is exact', ({ mode }) => mode === 'exact')
  const meanwhile = await fleet.send(requests)
  meanwhile.of(other.name).requireShare(1)
  assert.equal((await fleet.cache(late.name)).mode, 'stale')
  await empty(fleet, late.name, 50_000)
  const tally = await fleet.send(requests)
  tally.requireShare(1)
  const guessed = meanwhile.of(late.name)
  return (
    `${late.name} is stale with ${stale.blocks} blocks and right about ${guessed.right} of ${guessed.requests} ` +
    `requests; after a reset ${tally}`
  )
}

export const routerRestartCases = (requests: number): readonly ExactCase[] => [
  { name: 'a new router before warm engines', run: fleet => restart(fleet, requests), timeoutMs: 300_000 },
]

export const lateRouterCases = (requests: number): readonly ExactCase[] => [
  {
    name: 'a new router before an engine whose replay buffer is too small',
    run: fleet => joinLate(fleet, requests),
    timeoutMs: 300_000,
  },
]
