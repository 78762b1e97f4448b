/** What the router expects an engine to have cached is what the engine finds, request by request. */
import assert from 'node:assert/strict'
import { metric } from '../../engine.js'
import { routerMetric } from '../../explain.js'
import type { ExactCase, ExactFleet } from '../fleet.js'

/** Requests by how many are under way at a time. */
export interface Mix {
  readonly alone: number
  readonly byTwo: number
  readonly byFour: number
}

const LONG_MS = 600_000

async function joins(fleet: ExactFleet): Promise<string> {
  await fleet.allExact()
  return fleet.podIds.join()
}

async function traffic(fleet: ExactFleet, requests: number, concurrency: number): Promise<string> {
  const tally = await fleet.send(requests, concurrency)
  fleet.total.append(tally)
  const note = tally.share < 1 ? `${tally}\n${tally.differences()}` : `${tally}`
  return `${note}, by ${tally.pods.join()}`
}

async function overall({ total, podIds }: ExactFleet): Promise<string> {
  assert.deepEqual(total.pods, [...podIds].sort())
  total.requireShare(0.99)
  // A tenth of what was sent, at least: predictions of nothing would be worth nothing.
  assert.ok(total.cachedTokens > total.promptTokens / 10, `${total}`)
  return `${total}`
}

/** The router's own counters, against what the clients saw. */
async function counters({ router, total }: ExactFleet): Promise<string> {
  const checks = await routerMetric(router, 'phyllo_prompt_count_checks_total')
  assert.equal(checks['{result="agrees"}'], total.requests)
  for (const result of ['differs', 'distrusted', 'estimated']) assert.equal(checks[`{result="${result}"}`], 0)
  const actual = await routerMetric(router, 'phyllo_cached_tokens_actual_total')
  assert.deepEqual(actual, {
    '{mode="predicted"}': 0,
    '{mode="stale"}': 0,
    '{mode="exact"}': total.cachedTokens,
  })
  const predicted = await routerMetric(router, 'phyllo_cached_tokens_predicted_total')
  return `${predicted['{mode="exact"}']} cached tokens predicted, ${total.cachedTokens} found`
}

/** The pods' figures are those of the engines, whose caches have been full for long. */
async function figures(fleet: ExactFleet): Promise<string> {
  const { kind, pods, total } = fleet
  const notes: string[] = []
  let allEvicted = 0
  for (const { name } of pods) {
    const { mode, blocks, blockSize, capacity, events, ...counts } = await fleet.cache(name)
    assert.equal(mode, 'exact')
    assert.equal(blockSize, kind.blockSize)
    assert.equal(capacity, kind.blocks)
    // Blocks that are not full have no hash, and vLLM keeps one block for itself.
    assert.ok(blocks < kind.blocks && blocks > kind.blocks / 2, `${blocks} blocks of ${kind.blocks}`)
    const { gaps, lostBatches, orphans, malformed, restarts } = counts
    assert.deepEqual(
      { gaps, lostBatches, orphans, malformed, restarts },
      { gaps: 0, lostBatches: 0, orphans: 0, malformed: 0, restarts: 0 },
    )
    // What was stored and is not there any more. (`vllm:kv_cache_usage_perc` can't tell: it counts blocks of running
    // requests only.)
    const evicted = (events - blocks) / 2
    allEvicted += evicted
    // The engine's own count of tokens found in its cache.
    assert.equal(await metric(fleet.engine(name), kind.cachedTokensMetric), total.of(name).cachedTokens)
    notes.push(`${name} holds ${blocks} blocks of ${capacity}, evicted ${evicted}`)
  }
  assert.ok(
    allEvicted > 2 * kind.blocks,
    `${allEvicted} blocks evicted: the caches are too large to tell anything`,
  )
  return notes.join('; ')
}

export const trafficCases = ({ alone, byTwo, byFour }: Mix): readonly ExactCase[] => [
  { name: 'the router knows the caches of warm engines exactly', run: joins },
  {
    name: `conversations, one request at a time`,
    run: fleet => traffic(fleet, alone, 1),
    timeoutMs: LONG_MS,
  },
  { name: 'two at a time', run: fleet => traffic(fleet, byTwo, 2), timeoutMs: LONG_MS },
  { name: 'four at a time', run: fleet => traffic(fleet, byFour, 4), timeoutMs: LONG_MS },
  { name: 'cached tokens are as predicted for 99 % of all requests', run: overall },
]

export const figureCases: readonly ExactCase[] = [
  { name: "the router's counters of prompts and cached tokens", run: counters },
  { name: "GET /pods/ID/cache and the engines' own metrics", run: figures },
]
