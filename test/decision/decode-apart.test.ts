/** Which pods the filter drops, and what it tells of it. */
import test from 'ava'
import fc from 'fast-check'
import { CacheSizes } from '#phyllo/data/cache-sizes.js'
import { BOARD_MODELS, FleetBoard } from '#phyllo/data/fleet-board.js'
import type { PodInfo } from '#phyllo/data/pod-view.js'
import {
  decodeApart,
  hashBlocks,
  healthy,
  matchPrefix,
  maxScore,
  tokenize,
} from '#phyllo/decision/plugins/index.js'
import { PodSurvey } from '#phyllo/decision/pod-survey.js'
import { profile } from '#phyllo/decision/profile.js'
import { FakeFleet } from './fake-addon.js'
import { MODEL, pod, sharedMemory, single, TestWorker } from './helpers.js'

const roles = ['mixed', 'prefill', 'decode', 'both'] as const

function workerOf(given: readonly Partial<PodInfo>[]): { fleet: FakeFleet; worker: TestWorker } {
  const fleet = new FakeFleet(64)
  const worker = new TestWorker(
    fleet,
    given.map((more, slot) => ({ ...pod(slot), ...more })),
  )
  return { fleet, worker }
}

const decode = profile('decode')
  .prepare(tokenize(), hashBlocks(), matchPrefix())
  .filter(healthy(), decodeApart())
  .pick(maxScore())
  .execute(single())

/** One request: the slots that are left to it, and whether it was told that they are kept apart. */
function decide(worker: TestWorker, compiled: ReturnType<TestWorker['compile']>) {
  const ctx = worker.request()
  const picked = worker.route(compiled, ctx, worker.pods.stepPool(MODEL, 'decode'))
  const { keptApart } = ctx
  worker.contexts.give(ctx)
  return { picked: new Set(picked), keptApart }
}

test('whatever the fleet: a pod is left where there was one, and only pods of both roles are dropped', t => {
  const pods = fc.array(
    fc.record({
      role: fc.constantFrom(...roles),
      assigned: fc.constantFrom('prefill' as const, 'decode' as const, undefined),
      ready: fc.constantFrom(0, 1, 1, 1),
    }),
    { minLength: 1, maxLength: 8 },
  )
  fc.assert(
    fc.property(pods, given => {
      const { fleet, worker } = workerOf(
        given.map(({ role, assigned }) => ({ role, assigned: role === 'both' ? assigned : undefined })),
      )
      fleet.setAll(
        'ready',
        given.map(({ ready }) => ready),
      )
      const compiled = worker.compile(decode)
      const pool = worker.pods.stepPool(MODEL, 'decode')
      const able = [...pool.slots.subarray(0, pool.length)].filter(slot => fleet.get('ready', slot) === 1)
      const alone = able.filter(
        slot => worker.pods.bySlot(slot)?.role === 'decode' || given[slot]?.assigned === 'decode',
      )
      const canPrefill = worker.pods.stepPool(MODEL, 'prefill')
      const prefills = [...canPrefill.slots.subarray(0, canPrefill.length)].some(
        slot => fleet.get('ready', slot) === 1,
      )
      const hasBoth = alone.length > 0 && alone.length < able.length && prefills
      const { picked, keptApart } = decide(worker, compiled)
      // Before anything is known, pods are what their roles say.
      t.deepEqual([...picked].sort(), hasBoth ? alone : able)
      t.is(keptApart, hasBoth ? true : undefined)
    }),
  )
})

test('few requests: all pods answer, so that each has one of its own; what is told stays with the request', t => {
  const { fleet, worker } = workerOf(
    roles.flatMap(role => (role === 'both' || role === 'decode' ? [{ role }, { role }] : [])),
  )
  fleet.promptTokens = 60_000
  const compiled = worker.compile(decode)
  const told: (boolean | undefined)[] = []
  for (let at = 0; at < 200; at++) {
    fleet.now = at * 10_000
    // Mostly three are answered, and now and then one still waits for its first token.
    const found = at % 4 === 0 ? 2 : 3
    for (let slot = 0; slot < found; slot++) {
      fleet.set('inflight', slot, 1)
      fleet.set('activeTokens', slot, 60_000)
    }
    fleet.set('inflight', 2, found - 2)
    fleet.set('activeTokens', 2, 60_000 * (found - 2))
    fleet.set('pendingTokens', 0, at % 8 === 0 ? 60_000 : 0)
    const { picked, keptApart } = decide(worker, compiled)
    told.push(keptApart)
    t.is(picked.size, keptApart ? 2 : 4)
  }
  t.deepEqual(told.slice(0, 31), Array(31).fill(true))
  t.deepEqual(told.slice(-100), Array(100).fill(false))
  // A second pick for the same request is no second arrival, and goes by what the first one said.
  const ctx = worker.request()
  worker.route(compiled, ctx, worker.pods.stepPool(MODEL, 'decode'))
  ctx.keptApart = true
  compiled.select(ctx, worker.pods.stepPool(MODEL, 'decode'), worker.ranking)
  t.is(worker.picked().length, 2)
  t.true(ctx.keptApart)
})

test('an explanation goes by what requests were told, and is no arrival', t => {
  const fleet = new FakeFleet(64)
  const shared = sharedMemory(fleet.width, 1)
  const roles = [{ role: 'both' }, { role: 'decode' }] as const
  const worker = new TestWorker(
    fleet,
    roles.map((role, slot) => ({ ...pod(slot), ...role })),
    1,
    shared,
  )
  const onlooker = new FleetBoard(shared.board, true)
  const explained = worker.compile(decode, { board: onlooker })
  t.true(decide(worker, explained).keptApart, 'as the roles say, before anything came')
  t.is(onlooker.keptApart(0), undefined)
  worker.board.keepApart(0, false)
  t.false(decide(worker, explained).keptApart)
  t.is(worker.board.arrived(0), 0)
  const compiled = worker.compile(decode)
  t.true(decide(worker, compiled).keptApart)
  t.true(decide(worker, explained).keptApart)
  t.is(worker.board.arrived(0), 2)
})

test('models that share a count of arrivals have no regime', t => {
  const { worker } = workerOf([{ role: 'both' }, { role: 'decode' }])
  const compiled = worker.compile(decode)
  for (const [id, apart] of [
    [BOARD_MODELS - 1, true],
    [BOARD_MODELS, undefined],
  ] as const) {
    const ctx = worker.request()
    ctx.modelId = id
    worker.route(compiled, ctx, worker.pods.stepPool(MODEL, 'decode'))
    t.is(ctx.keptApart, apart)
  }
})

test('room is that of the pods that told theirs: one that has just come does not halve it', t => {
  const { fleet, worker } = workerOf([{ role: 'both' }, { role: 'decode' }, { role: 'decode' }])
  const { lane } = worker
  const caches = new CacheSizes(lane, worker.pods, () => fleet.now)
  const room = (): number => {
    const survey = new PodSurvey(lane, caches, worker.pods)
    lane.beginSelection()
    caches.expire()
    t.true(survey.read(MODEL))
    return survey.found.roomTokens
  }
  t.is(room(), 0)
  fleet.caches.set(1, { held: 0, room: 1000 })
  t.is(room(), 16_000)
  fleet.caches.set(2, { held: 0, room: 2000 })
  t.is(room(), 24_000)
})
