import test from 'ava'
import { CACHE_MODE } from '#phyllo/data/native.js'
import {
  circuitClosed,
  hashBlocks,
  healthy,
  leastLoad,
  matchPrefix,
  maxScore,
  prefixOverlap,
  tokenize,
} from '#phyllo/decision/plugins/index.js'
import { profile } from '#phyllo/decision/profile.js'
import { Trace } from '#phyllo/decision/trace.js'
import { fleetOf, single } from './helpers.js'

test('a trace explains the whole decision and survives JSON', t => {
  const { worker, fleet } = fleetOf(4)
  fleet.cached = new Map([
    [1, 800],
    [2, 200],
  ])
  fleet.modes = new Map([[2, CACHE_MODE.exact]])
  fleet.set('ready', 0, 0)
  fleet.set('breaker', 3, 1)
  fleet.set('inflight', 1, 4)
  const compiled = worker.compile(
    profile('cache-aware')
      .prepare(tokenize(), hashBlocks(), matchPrefix())
      .filter(healthy(), circuitClosed())
      .score(prefixOverlap({ weight: 3 }), leastLoad({ weight: 2 }))
      .pick(maxScore())
      .execute(single()),
  )
  let clock = 0
  const trace = new Trace(worker.pods, () => ++clock)
  const ctx = worker.request()
  t.is(compiled.prepare(ctx, trace), undefined)
  compiled.select(ctx, worker.pool, worker.ranking, trace)

  const record = JSON.parse(JSON.stringify(trace))
  t.is(record.profile, 'cache-aware')
  t.deepEqual(record.prepare.prompt, {
    tokens: 1000,
    exact: true,
    blocks: 0,
    blockSize: 16,
    shape: 'chat',
  })
  const [selection] = record.selections
  t.deepEqual(selection.candidates, ['pod-0', 'pod-1', 'pod-2', 'pod-3'])
  t.deepEqual(selection.filters, [
    {
      plugin: 'healthy',
      dropped: ['pod-0'],
      reasons: { 'pod-0': 'down, cordoned or leaving' },
      micros: 1,
    },
    {
      plugin: 'circuit-closed',
      dropped: ['pod-3'],
      reasons: { 'pod-3': 'its circuit is open' },
      micros: 1,
    },
  ])
  t.deepEqual(selection.cache.tokens, { 'pod-0': 0, 'pod-1': 800, 'pod-2': 200, 'pod-3': 0 })
  t.deepEqual(Object.keys(selection.cache.hints), ['pod-0', 'pod-1', 'pod-2', 'pod-3'])
  const hint = { promptTokens: 1000, gpuTokens: 0, lowerTokens: 0, blockSize: 16 }
  t.deepEqual(selection.cache.hints['pod-1'], { ...hint, predictedTokens: 800, mode: 'predicted' })
  t.deepEqual(selection.cache.hints['pod-2'], { ...hint, gpuTokens: 200, predictedTokens: 0, mode: 'exact' })
  const [overlap, load] = selection.scores
  t.deepEqual(overlap.raw, { 'pod-1': 0.8, 'pod-2': 0.2 })
  t.deepEqual(overlap.weighted, { 'pod-1': 0.8 * 3, 'pod-2': 0.2 * 3 })
  t.deepEqual(load.raw, { 'pod-1': 0.5, 'pod-2': 1 })
  t.deepEqual(selection.totals, { 'pod-1': 0.8 * 3 + 1, 'pod-2': 0.2 * 3 + 2 })
  t.deepEqual(selection.ranking, ['pod-1', 'pod-2'])
  t.is(selection.pick.plugin, 'max-score')
  t.is(selection.outcome, 'picked')
  t.true(selection.micros > 0)
})

test('each selection of a request has its own record, the empty one too', t => {
  const { worker, fleet } = fleetOf(2)
  const compiled = worker.compile(profile('p').filter(healthy()).pick(maxScore()).execute(single()))
  const trace = new Trace(worker.pods)
  const ctx = worker.request()
  compiled.select(ctx, worker.pool, worker.ranking, trace)
  for (const slot of [0, 1]) fleet.set('ready', slot, 0)
  compiled.select(ctx, worker.pool, worker.ranking, trace)
  t.deepEqual(
    trace.selections.map(({ outcome, cache, ranking }) => ({ outcome, cache, pods: ranking.length })),
    [
      { outcome: 'picked', cache: null, pods: 2 },
      { outcome: 'no_pod', cache: null, pods: 0 },
    ],
  )
})

test('tracing changes nothing about the decision', t => {
  const { worker, fleet } = fleetOf(16)
  for (let slot = 0; slot < 16; slot++) fleet.set('inflight', slot, (slot * 7) % 5)
  const compiled = worker.compile(
    profile('p')
      .score(leastLoad())
      .pick(maxScore({ tieBreak: 'rotate' }))
      .execute(single()),
  )
  const ctx = worker.request()
  const rank = (trace?: Trace): number[] => {
    fleet.cursors.clear()
    compiled.select(ctx, worker.pool, worker.ranking, trace)
    return worker.picked()
  }
  t.deepEqual(rank(), rank(new Trace(worker.pods)))
})
