/** `pods[].maxInflight`: the operator's limit on a pod, whatever the profile. */
import test from 'ava'
import { maxScore, random } from '#phyllo/decision/plugins/index.js'
import { profile } from '#phyllo/decision/profile.js'
import { Ranking } from '#phyllo/decision/ranking.js'
import { Trace } from '#phyllo/decision/trace.js'
import { fleetOf, pod, single } from './helpers.js'

const limited = (limits: readonly number[]) =>
  limits.map((maxInflight, slot) => ({ ...pod(slot), maxInflight }))

test('a pod with as many requests as it may have is passed by; 0 is no limit', t => {
  const { worker, fleet } = fleetOf(4)
  worker.update(limited([2, 2, 0, 1]))
  fleet.setAll('inflight', [2, 1, 1000, 1])
  const compiled = worker.compile(profile('p').pick(random()).execute(single()))
  t.deepEqual(worker.route(compiled, worker.request()).sort(), [1, 2])
})

test('nothing but full pods is an overload, not a lack of pods, and the trace says why', t => {
  const { worker, fleet } = fleetOf(2)
  worker.update(limited([1, 1]))
  fleet.setAll('inflight', [1, 1])
  const compiled = worker.compile(profile('p').pick(maxScore()).execute(single()))
  const trace = new Trace(worker.pods)
  t.is(compiled.select(worker.request(), worker.pool, new Ranking(), trace), 'overloaded')
  t.regex(JSON.stringify(trace), /max-inflight/)
})
