/** The table of `phyllo demo --exact`. */
import Table from 'cli-table3'
import type { DemoPod } from './demo-router.js'
import type { TurnResult } from './replay.js'
import { ms, percent, type Summary, summarise } from './report.js'

/** Cached prompt tokens over all answers that told them: as the router expected them, and as they were. */
export interface Belief {
  readonly expected: number
  readonly actual: number
}

export interface ExactRun {
  /** Routers that shared the work. */
  readonly routers: number
  readonly mode: 'predicted' | 'exact'
  readonly results: readonly TurnResult[]
  readonly belief: Belief
  /** Blocks that the engines gave up for others. */
  readonly evicted: number
}

export interface ExactSummary extends Summary {
  readonly routers: number
  readonly mode: ExactRun['mode']
  /** Prompt tokens that the router expected to be cached, over all prompt tokens. */
  readonly expectedRate: number
  readonly belief: Belief
  readonly evicted: number
}

/** Throws if a request failed: a table with holes would compare nothing. */
export function summariseExact(run: ExactRun, pods: readonly DemoPod[], speed: number): ExactSummary {
  const names = pods.map(({ id }) => id)
  const summary = summarise({ profile: run.mode, results: run.results }, names, speed)
  if (summary.firstError !== null) {
    const { failed, requests, firstError } = summary
    throw new Error(
      `${failed} of ${requests} requests failed with ${run.mode} caches, the first: ${firstError}`,
    )
  }
  const prompt = run.results.reduce((total, { promptTokens }) => total + promptTokens, 0)
  const { routers, mode, belief, evicted } = run
  return { ...summary, routers, mode, belief, evicted, expectedRate: belief.expected / Math.max(1, prompt) }
}

export function renderExactTable(summaries: readonly ExactSummary[], pods: readonly DemoPod[]): string {
  const table = new Table({
    head: [
      'routers',
      'cache state',
      'expected hits',
      'cache-hit rate',
      'TTFT p50',
      'TTFT p90',
      'evicted blocks',
      `requests on ${pods.map(({ id }) => id).join(' / ')}`,
    ],
    colAligns: ['right', 'left', 'right', 'right', 'right', 'right', 'right', 'right'],
    style: { head: [], border: [] },
  })
  for (const one of summaries) {
    table.push([
      String(one.routers),
      one.mode,
      percent(one.expectedRate),
      percent(one.hitRate),
      ms(one.ttftP50),
      ms(one.ttftP90),
      one.evicted.toLocaleString('en'),
      one.perPod.join(' / '),
    ])
  }
  return table.toString()
}
