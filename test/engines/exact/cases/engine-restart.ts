/** An engine is killed and started again: nothing of what it held counts any more. */
import assert from 'node:assert/strict'
import { seconds } from '../../harness.js'
import type { ExactCase, ExactFleet } from '../fleet.js'

/** Batches kept for replays: fewer than the requests that follow make, for the case of a late router. */
const BUFFER_STEPS = 8

async function restart(fleet: ExactFleet, requests: number): Promise<string> {
  const [first, second] = fleet.pods
  assert.ok(first && second)
  const before = await fleet.cache(first.name)
  await fleet.engine(first.name).process.kill()
  const started = performance.now()
  await fleet.restartEngine(first.name, { bufferSteps: BUFFER_STEPS })
  const back = seconds(started)
  // Its first request was too short for a block, so that it has published nothing yet.
  await fleet.settled(
    first.name,
    'is empty and exact',
    ({ blocks, mode }) => blocks === 0 && mode === 'exact',
  )
  await fleet.inService(first.name)
  // The other one has what the conversations share, and would be preferred.
  await fleet.cordon(second.name, true)
  const tally = await fleet.send(requests)
  await fleet.cordon(second.name, false)
  assert.deepEqual(tally.pods, [first.name])
  tally.requireShare(1)
  return `${first.name} held ${before.blocks} blocks, is back empty after ${back}; then ${tally}`
}

export const engineRestartCases = (requests: number): readonly ExactCase[] => [
  { name: 'an engine killed and started again', run: fleet => restart(fleet, requests), timeoutMs: 420_000 },
]
