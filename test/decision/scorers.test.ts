import test from 'ava'
import fc from 'fast-check'
import {
  hashBlocks,
  leastLoad,
  matchPrefix,
  maxScore,
  prefixOverlap,
  sessionAffinity,
  sessionKey,
  tokenize,
} from '#phyllo/decision/plugins/index.js'
import { profile } from '#phyllo/decision/profile.js'
import { Trace } from '#phyllo/decision/trace.js'
import { fleetOf, pod, single } from './helpers.js'

/** least-load's raw scores for these loads. */
function loadScores(
  inflight: number[],
  options: Parameters<typeof leastLoad>[0] = {},
  pending: number[] = [],
) {
  const { worker, fleet } = fleetOf(inflight.length)
  fleet.setAll('inflight', inflight)
  fleet.setAll('pendingTokens', pending)
  const compiled = worker.compile(profile('p').score(leastLoad(options)).pick(maxScore()).execute(single()))
  const trace = new Trace(worker.pods)
  compiled.select(worker.request(), worker.pool, worker.ranking, trace)
  const raw = trace.selections[0]?.scores[0]?.raw ?? {}
  return inflight.map((_, slot) => raw[`pod-${slot}`] ?? Number.NaN)
}

test('least-load: 1 for the least loaded, 0 from slack on, a straight line between', t => {
  t.deepEqual(loadScores([3, 5, 7, 11, 50]), [1, 0.75, 0.5, 0, 0])
})

test('least-load: on a busy fleet the slack grows with the least load', t => {
  // 64 in flight everywhere: 8 more is noise, 32 more is 1.5 times the least.
  t.deepEqual(loadScores([64, 72, 96]), [1, 0.75, 0])
})

test('least-load: one pod that hangs does not flatten the others', t => {
  t.deepEqual(loadScores([0, 4, 4, 1000]).slice(0, 3), loadScores([0, 4, 4]))
})

test('least-load: pending prompt tokens count by option only', t => {
  t.deepEqual(loadScores([1, 1], {}, [8192, 0]), [1, 1])
  t.deepEqual(loadScores([1, 1], { tokensPerRequest: 2048 }, [8192, 0]), [0.5, 1])
})

test('least-load: never prefers the pod with more load', t => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(200), { minLength: 2, maxLength: 30 }),
      fc.integer({ min: 1, max: 64 }),
      (loads, slack) => {
        const scores = loadScores(loads, { slack })
        t.true(scores.every(score => score >= 0 && score <= 1))
        for (const [i, a] of loads.entries()) {
          for (const [j, b] of loads.entries()) if (a < b) t.true((scores[i] ?? 0) >= (scores[j] ?? 0))
        }
      },
    ),
    { numRuns: 100 },
  )
})

/** Which of two pods wins: pod 0 has so much of the prompt cached and so much more in flight. */
function winner(hit: number, moreLoad: number): number | undefined {
  const { worker, fleet } = fleetOf(2)
  fleet.cached = new Map([[0, hit * 1000]])
  fleet.set('inflight', 0, moreLoad)
  const compiled = worker.compile(
    profile('p')
      .prepare(tokenize(), hashBlocks(), matchPrefix())
      .score(prefixOverlap(), leastLoad())
      .pick(maxScore())
      .execute(single()),
  )
  return worker.route(compiled, worker.request())[0]
}

test('prefix against load: a small difference does not overturn a hit, a big one does', t => {
  t.is(winner(1, 3), 0)
  t.is(winner(1, 7), 0)
  t.is(winner(1, 8), 1)
  t.is(winner(0.5, 3), 0)
  t.is(winner(0.5, 5), 1)
  t.is(winner(0, 1), 1)
})

test('prefix-overlap: cached share, and no division by an empty prompt', t => {
  const { worker, fleet } = fleetOf(3)
  fleet.cached = new Map([[2, 250]])
  const compiled = worker.compile(
    profile('p')
      .prepare(tokenize(), hashBlocks(), matchPrefix())
      .score(prefixOverlap())
      .pick(maxScore())
      .execute(single()),
  )
  const totals = (): unknown => {
    const trace = new Trace(worker.pods)
    const ctx = worker.request()
    compiled.prepare(ctx)
    compiled.select(ctx, worker.pool, worker.ranking, trace)
    return trace.selections[0]?.totals
  }
  t.deepEqual(totals(), { 'pod-0': 0, 'pod-1': 0, 'pod-2': 0.25 })
  fleet.promptTokens = 0
  t.deepEqual(totals(), { 'pod-0': 0, 'pod-1': 0, 'pod-2': 0 })
})

test('cached tokens are looked up once per selection however many plugins read them', t => {
  const { worker } = fleetOf(3)
  const compiled = worker.compile(
    profile('p')
      .prepare(tokenize(), hashBlocks(), matchPrefix())
      .score(prefixOverlap(), prefixOverlap({ weight: 2 }))
      .pick(maxScore())
      .execute(single()),
  )
  worker.route(compiled, worker.request())
  t.is(worker.calls('cachedTokens'), 1)
  t.is(worker.calls('loads'), 1)
})

test('session-affinity: a new pod in the slot of the session’s old one inherits nothing', t => {
  const { worker } = fleetOf(2)
  const compiled = worker.compile(
    profile('p').prepare(sessionKey()).score(sessionAffinity()).pick(maxScore()).execute(single()),
  )
  const headers = ['x-session-id', 's1']
  const home = worker.serve(compiled, worker.request({}, headers)).slot
  const again = (): unknown => {
    const trace = new Trace(worker.pods)
    const ctx = worker.request({}, headers)
    compiled.prepare(ctx)
    compiled.select(ctx, worker.pool, worker.ranking, trace)
    return trace.selections[0]?.totals[`pod-${home}`]
  }
  t.is(again(), 1)
  worker.update([pod(0, 'pod-0', 2), pod(1, 'pod-1', 2)])
  t.is(again(), 0)
})
