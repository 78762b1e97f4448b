/** `/reset_prefix_cache`: the pod stays exact, and empty. */
import assert from 'node:assert/strict'
import type { ExactCase, ExactFleet } from '../fleet.js'

/** Two full blocks of 32 tokens, four of 16, and a few tokens of the next. */
const TOKENS = 70

/**
 * The engine publishes what it has to say after its next step. Until then it holds nothing, and the router believes
 * that it holds what it did; so one request goes past the router.
 */
export async function empty(fleet: ExactFleet, name: string, first: number): Promise<number> {
  const engine = fleet.engine(name)
  await fleet.reset(engine)
  await fleet.sendPast(engine, first, TOKENS)
  const blocks = Math.floor(TOKENS / fleet.kind.blockSize)
  const cache = await fleet.settled(
    name,
    `holds ${blocks} blocks`,
    ({ blocks: held, mode }) => held === blocks && mode === 'exact',
  )
  return cache.blocks
}

async function resetOne(fleet: ExactFleet, requests: number): Promise<string> {
  const [first, second] = fleet.pods
  assert.ok(first)
  const before = second && (await fleet.cache(second.name))
  const blocks = await empty(fleet, first.name, 0)
  // The other is not concerned.
  if (second !== undefined) assert.equal((await fleet.cache(second.name)).blocks, before?.blocks)
  const tally = await fleet.send(requests)
  tally.requireShare(1)
  return `${first.name} holds ${blocks} blocks; then ${tally}`
}

export const resetCases = (requests: number): readonly ExactCase[] => [
  { name: 'a reset of the prefix cache', run: fleet => resetOne(fleet, requests) },
]
