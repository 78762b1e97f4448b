/** Data-parallel ranks of one engine: pods of their own, each with its own events. */
import assert from 'node:assert/strict'
import { metric } from '../../engine.js'
import type { ExactCase, ExactFleet } from '../fleet.js'

async function ranks(fleet: ExactFleet, requests: number): Promise<string> {
  await fleet.allExact()
  const tally = await fleet.send(requests)
  assert.deepEqual(tally.pods, [...fleet.podIds].sort())
  tally.requireShare(0.99)
  const [{ name } = { name: '' }] = fleet.pods
  // Where the router sent a request is where it was served: the engine counts its hits by rank.
  for (const [rank, pod] of fleet.podIds.entries()) {
    const hits = await metric(fleet.engine(name), 'vllm:prefix_cache_hits_total', `engine="${rank}"`)
    assert.equal(hits, tally.of(pod).cachedTokens, pod)
  }
  const shares = tally.pods.map(pod => `${pod}: ${tally.of(pod).cachedTokens} cached tokens`)
  return `${tally}; ${shares.join(', ')}`
}

export const rankCases = (requests: number): readonly ExactCase[] => [
  {
    name: 'data-parallel ranks of one engine',
    run: fleet => ranks(fleet, requests),
    timeoutMs: 300_000,
  },
]
