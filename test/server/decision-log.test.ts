/** Which requests the decision log samples, and what that costs the others: one random number, and no trace. */
import test from 'ava'
import { CacheAges, CacheLook, createCacheAges } from '#phyllo/data/cache-ages.js'
import { CACHE, CACHE_MODE } from '#phyllo/data/native.js'
import { leastLoad, maxScore } from '#phyllo/decision/plugins/index.js'
import { profile } from '#phyllo/decision/profile.js'
import { decisionRecord } from '#phyllo/decision/record/schema.js'
import type { ExecutionRecord } from '#phyllo/execution/events.js'
import { DecisionSampler, type SamplerOptions } from '#phyllo/server/decision-log.js'
import { refOf } from '../decision/fake-addon.js'
import { fleetOf, seeded, single } from '../decision/helpers.js'

const look = new CacheLook({ cacheStatus: () => false }, new CacheAges(createCacheAges()))

const ended: ExecutionRecord = {
  pod: undefined,
  status: 503,
  error: undefined,
  outcome: 'failed',
  attempts: 2,
  decisionMs: 1,
  firstByteMs: -1,
  durationMs: 3.14159,
  bytes: 0,
}

function samplerFor(more: Partial<SamplerOptions> = {}) {
  const { worker } = fleetOf(4)
  const lines: string[] = []
  const faults: unknown[] = []
  const sampler = new DecisionSampler({
    rate: 0.25,
    prompt: false,
    matchBytes: 1000,
    pods: worker.pods,
    look,
    lines: { add: line => lines.push(line) },
    random: seeded(1),
    now: () => 0,
    onFault: error => faults.push(error),
    ...more,
  })
  const compiled = worker.compile(profile('p').score(leastLoad()).pick(maxScore()).execute(single()))
  return { worker, lines, faults, sampler, compiled }
}

test('each request is asked for once, and what is not sampled has no trace and no line', t => {
  let draws = 0
  const random = seeded(2)
  const { worker, lines, faults, sampler, compiled } = samplerFor({
    random: () => {
      draws++
      return random()
    },
  })
  let sampled = 0
  for (let i = 0; i < 400; i++) {
    const ctx = worker.request({ messages: [] })
    sampler.consider(ctx)
    if (ctx.trace !== undefined) sampled++
    const calls = worker.calls('prepare')
    compiled.prepare(ctx, ctx.trace)
    t.is(
      worker.calls('prepare') - calls || 0,
      ctx.trace === undefined ? 0 : 1,
      'only the sampled one is matched',
    )
    compiled.select(ctx, worker.pool, worker.ranking, ctx.trace)
    sampler.done(ctx, ended)
    worker.contexts.give(ctx)
    t.is(ctx.trace, undefined, 'a context in its pool holds no trace')
  }
  t.is(draws, 400)
  t.true(sampled > 60 && sampled < 140, `${sampled} of 400 at a rate of 0.25`)
  t.is(lines.length, sampled)
  t.deepEqual(faults, [])
  const { outcome } = decisionRecord.parse(JSON.parse(lines[0] ?? ''))
  t.deepEqual(outcome, {
    pod: null,
    status: 503,
    outcome: 'failed',
    error: null,
    attempts: 2,
    ttftMs: null,
    durationMs: 3.142,
    bytes: 0,
    promptTokens: null,
    cachedTokens: null,
  })
})

test('a request that names no model is not sampled, nor one whose decision never came', t => {
  const { worker, lines, sampler } = samplerFor({ rate: 1 })
  const other = worker.request()
  other.modelId = -1
  sampler.consider(other)
  t.is(other.trace, undefined)
  const early = worker.request()
  sampler.consider(early)
  t.not(early.trace, undefined)
  sampler.done(early, ended)
  t.deepEqual(lines, [])
})

test('a line that cannot be made is our fault, not the request’s', t => {
  const broken = new Error('no')
  const { worker, faults, sampler, compiled } = samplerFor({
    rate: 1,
    lines: {
      add() {
        throw broken
      },
    },
  })
  const ctx = worker.request()
  sampler.consider(ctx)
  compiled.prepare(ctx, ctx.trace)
  compiled.select(ctx, worker.pool, worker.ranking, ctx.trace)
  t.notThrows(() => sampler.done(ctx, ended))
  t.deepEqual(faults, [broken])
})

test('a body over the limit is not matched for the log: what pods hold is then unknown', t => {
  const { worker, lines, sampler, compiled } = samplerFor({ rate: 1, matchBytes: 10 })
  const ctx = worker.request({ messages: [{ role: 'user', content: 'longer than ten bytes' }] })
  sampler.consider(ctx)
  compiled.prepare(ctx, ctx.trace)
  compiled.select(ctx, worker.pool, worker.ranking, ctx.trace)
  sampler.done(ctx, ended)
  t.is(decisionRecord.parse(JSON.parse(lines[0] ?? '')).pods.cached, null)
})

test('ages: of events where a pod is exact, of what was sent there where it is predicted; not of a former pod', t => {
  const memory = createCacheAges()
  const ages = new CacheAges(memory)
  let mode: number = CACHE_MODE.predicted
  const of = new CacheLook(
    {
      cacheStatus(_ref, out) {
        out.fill(0)
        out[CACHE.mode] = mode
        out[CACHE.lagMs] = 7
        return true
      },
    },
    new CacheAges(memory),
  )
  const pod = refOf(3)
  t.like(of.of(pod), { source: 'predicted', ageMs: null, lagMs: null })
  ages.heard(pod)
  t.is(of.of(pod)?.ageMs, null, 'events say nothing of what is predicted')
  ages.sent(pod)
  t.is(typeof of.of(pod)?.ageMs, 'number')
  mode = CACHE_MODE.exact
  t.is(typeof of.of(pod)?.ageMs, 'number')
  t.is(of.of(pod)?.lagMs, 7)
  t.is(of.of(refOf(3, 2))?.ageMs, null)
})
