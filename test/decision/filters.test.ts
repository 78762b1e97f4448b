import test from 'ava'
import fc from 'fast-check'
import { InvalidOptions } from '#phyllo/decision/options.js'
import { circuitClosed, concurrencyCap, healthy, maxScore } from '#phyllo/decision/plugins/index.js'
import { profile } from '#phyllo/decision/profile.js'
import { fleetOf, single } from './helpers.js'

const sorted = (slots: number[]) => [...slots].sort((a, b) => a - b)

test('healthy keeps ready pods only', t => {
  const { worker, fleet } = fleetOf(4)
  fleet.set('ready', 1, 0)
  const compiled = worker.compile(profile('p').filter(healthy()).pick(maxScore()).execute(single()))
  t.deepEqual(sorted(worker.route(compiled, worker.request())), [0, 2, 3])
})

test('circuit-closed keeps closed breakers and half-open ones with a free probe', t => {
  const { worker, fleet } = fleetOf(4)
  for (const state of [0, 1, 2, 3]) fleet.set('breaker', state, state)
  const compiled = worker.compile(profile('p').filter(circuitClosed()).pick(maxScore()).execute(single()))
  t.deepEqual(sorted(worker.route(compiled, worker.request())), [0, 2])
})

test('concurrency-cap: bound = ceil(factor × (m + 1) / n), and never drops every pod', t => {
  fc.assert(
    fc.property(
      fc.array(fc.nat(40), { minLength: 1, maxLength: 60 }),
      fc.double({ min: 1, max: 4, noNaN: true }),
      (loads, factor) => {
        const { worker, fleet } = fleetOf(loads.length)
        fleet.setAll('inflight', loads)
        const compiled = worker.compile(
          profile('p').filter(concurrencyCap({ factor })).pick(maxScore()).execute(single()),
        )
        const ctx = worker.request()
        const picked = worker.route(compiled, ctx)
        const total = loads.reduce((sum, load) => sum + load, 0)
        t.is(ctx.bound, Math.ceil((factor * (total + 1)) / loads.length))
        t.true(picked.length > 0)
        t.true(picked.every(slot => (loads[slot] ?? 0) < ctx.bound))
      },
    ),
    { numRuns: 200 },
  )
})

test('concurrency-cap: the absolute number and the tighter of two caps win', t => {
  const { worker, fleet } = fleetOf(3)
  fleet.setAll('inflight', [5, 1, 0])
  const both = worker.compile(
    profile('p')
      .filter(concurrencyCap({ max: 2, factor: 100 }))
      .pick(maxScore())
      .execute(single()),
  )
  const ctx = worker.request()
  t.deepEqual(worker.route(both, ctx), [2, 1])
  t.is(ctx.bound, 2)
  const twice = worker.compile(
    profile('p')
      .filter(concurrencyCap({ max: 1 }), concurrencyCap({ max: 9 }))
      .pick(maxScore())
      .execute(single()),
  )
  t.deepEqual(worker.route(twice, ctx), [2])
  t.is(ctx.bound, 1)
})

test('concurrency-cap without any cap is refused', t => {
  const error = t.throws(() => concurrencyCap({}), { instanceOf: InvalidOptions })
  t.is(error?.message, "plugin 'concurrency-cap': needs 'max', 'factor' or both")
})
