/** Prefills and answers apart or together: the model of either way, and the controller that goes by it. */
import test from 'ava'
import fc from 'fast-check'
import { type Found, Regime } from '#phyllo/decision/regime.js'
import {
  answeredApart,
  companions,
  type Demand,
  HOPELESS,
  slowdownApart,
  slowdownTogether,
} from '#phyllo/decision/regime-model.js'
import { seeded } from './helpers.js'

const WEIGHT = 160_000
const options = { weightTokens: WEIGHT, margin: 0.02, dwellMs: 30_000 }
const PROMPT = 10_000

const demands = fc.record({
  prefills: fc.double({ min: 0.05, max: 2.5, noNaN: true }),
  answers: fc.double({ min: 0.2, max: 30, noNaN: true }),
  held: fc.double({ min: 0.01, max: 0.7, noNaN: true }),
})

test('companions: as counted, where requests are dealt out to pods one by one', t => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: 20 }), (requests, pods) => {
      const on = Array.from({ length: pods }, () => 0)
      for (let at = 0; at < requests; at++) on[at % pods] = (on[at % pods] ?? 0) + 1
      const pairs = on.reduce((sum, each) => sum + each * (each - 1), 0)
      t.true(Math.abs(companions(requests, pods) - pairs / requests) < 1e-9)
    }),
  )
})

test('the model: who is alone reads his own context; more work or fewer pods never make tokens faster', t => {
  const idle = { prefills: 0.01, answers: 0.01, held: 0.3 }
  t.true(Math.abs(slowdownApart(idle, 4) - 1.3) < 0.01)
  t.true(Math.abs(slowdownTogether(idle, 8) - 1.3) < 0.01)
  fc.assert(
    fc.property(
      demands,
      fc.integer({ min: 1, max: 16 }),
      fc.double({ min: 1, max: 3, noNaN: true }),
      (demand, pods, more) => {
        const near = (a: number, b: number): boolean => a <= b + 0.01 * b
        for (const slowdown of [slowdownApart, slowdownTogether]) {
          const now = slowdown(demand, pods)
          if (!(now >= 1 && now <= HOPELESS)) return false
          if (!near(now, slowdown({ ...demand, held: demand.held * more }, pods))) return false
          if (!near(slowdown(demand, pods + 1), now)) return false
        }
        const busier = { ...demand, prefills: demand.prefills * more }
        return (
          near(slowdownTogether(demand, pods), slowdownTogether(busier, pods)) &&
          slowdownApart(busier, pods) === slowdownApart(demand, pods) &&
          answeredApart(demand, pods) >= demand.answers
        )
      },
    ),
  )
})

test('the model: eight H100 at the crossover of the bench, whose figures it was not fitted to', t => {
  // Requests a second, seconds that a prompt takes, tokens that a request holds; 8 ms a token where nothing is read.
  const demandOf = (rate: number, prefill: number, tokens: number): Demand => ({
    prefills: rate * prefill,
    answers: rate * 8,
    held: tokens / WEIGHT,
  })
  const isApart = (demand: Demand): boolean => slowdownTogether(demand, 8) > slowdownApart(demand, 4)
  for (const rate of [2.4, 4.7, 7.1]) t.false(isApart(demandOf(rate, 0.31, 10_500)), `10k, ${rate}/s`)
  for (const rate of [0.74, 1.5, 2.2]) t.false(isApart(demandOf(rate, 1.2, 30_500)), `30k, ${rate}/s`)
  for (const rate of [0.66, 1]) t.true(isApart(demandOf(rate, 3.2, 60_500)), `60k, ${rate}/s`)
  t.false(isApart(demandOf(0.17, 7.15, 100_500)), '100k, 0.17/s')
  for (const rate of [0.35, 0.52]) t.true(isApart(demandOf(rate, 7.15, 100_500)), `100k, ${rate}/s`)
})

// The controller, on a fleet that does what the model says, by chance

const fleet = {
  pods: 8,
  alone: 4,
  prefillers: 4,
  roomTokens: 0,
  uncachedTokens: PROMPT,
  prefillMs: -1,
  arrivals: 0,
}

function poisson(mean: number, random: () => number): number {
  let count = 0
  for (let left = Math.exp(-mean), product = random(); product > left; product *= random()) count++
  return count
}

/** What an arrival finds where so much is asked for and the regime has been as it is for long. */
function foundBy({ prefills, answers, held }: Demand, isApart: boolean, random: () => number): Found {
  const slowdown = isApart
    ? slowdownApart({ prefills, answers, held }, fleet.alone, 0)
    : slowdownTogether({ prefills, answers, held }, fleet.pods, 0)
  const answered = poisson(Math.min(200, answers * slowdown), random)
  const prefilling = Math.min(fleet.prefillers, poisson(prefills, random))
  const bookings = answered + prefilling * (isApart ? 2 : 1)
  return {
    ...fleet,
    prefilling,
    pendingTokens: prefilling * PROMPT,
    bookings,
    heldTokens: bookings * held * WEIGHT,
  }
}

/** Runs so many arrivals; answers their numbers at which the regime changed. */
function run(
  regime: Regime,
  demand: Demand,
  arrivals: number,
  random: () => number,
  clock: { now: number },
): number[] {
  const changes: number[] = []
  for (let at = 0; at < arrivals; at++) {
    const was = regime.isApart
    clock.now += 1000
    regime.arrived(foundBy(demand, was, random), clock.now)
    if (regime.isApart !== was) changes.push(at)
  }
  return changes
}

const gainOf = (demand: Demand): number =>
  slowdownTogether(demand, fleet.pods) / slowdownApart(demand, fleet.alone) - 1

/** Where one way is better by a third, and both are ways. */
const isClear = (demand: Demand): boolean =>
  (gainOf(demand) > 0.33 || gainOf(demand) < -0.25) &&
  Math.max(slowdownApart(demand, fleet.alone), slowdownTogether(demand, fleet.pods)) < 10

test('steady demand: the regime that the model finds better, and it stays', t => {
  let clear = 0
  fc.assert(
    fc.property(demands, fc.integer(), (demand, seed) => {
      if (!isClear(demand)) return
      clear++
      const regime = new Regime(options)
      const clock = { now: 0 }
      const random = seeded(seed)
      run(regime, demand, 400, random, clock)
      t.is(regime.isApart, gainOf(demand) > 0, JSON.stringify(demand))
      t.deepEqual(run(regime, demand, 600, random, clock), [], JSON.stringify(demand))
    }),
    { numRuns: 300 },
  )
  t.true(clear > 30)
})

test('after the load has changed, the regime follows', t => {
  const long = { prefills: 2.5, answers: 2.8, held: 0.63 }
  const short = { prefills: 1.5, answers: 37, held: 0.066 }
  t.true(isClear(long) && gainOf(long) > 0)
  t.true(gainOf(short) < 0)
  const regime = new Regime(options)
  const clock = { now: 0 }
  const random = seeded(7)
  for (let round = 0; round < 3; round++) {
    run(regime, long, 800, random, clock)
    t.true(regime.isApart)
    run(regime, short, 800, random, clock)
    t.false(regime.isApart)
  }
})

test('whatever is found: nothing before enough was seen, and changes are a dwell apart', t => {
  const count = fc.integer({ min: 0, max: 40 })
  const found = fc.record({
    pods: fc.integer({ min: 2, max: 16 }),
    alone: fc.integer({ min: 1, max: 8 }),
    prefillers: fc.integer({ min: 1, max: 8 }),
    prefilling: count,
    pendingTokens: fc.integer({ min: 0, max: 1e7 }),
    bookings: fc.integer({ min: 0, max: 300 }),
    heldTokens: fc.integer({ min: 0, max: 1e8 }),
    roomTokens: fc.constantFrom(0, 1000, 450_000),
    uncachedTokens: fc.integer({ min: 0, max: 200_000 }),
    prefillMs: fc.constantFrom(-1, 0, 10, 7000),
    arrivals: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }),
  })
  fc.assert(
    fc.property(
      fc.array(fc.tuple(found, fc.integer({ min: 0, max: 20_000 })), {
        minLength: 100,
        maxLength: 400,
      }),
      looks => {
        const regime = new Regime(options)
        let now = 0
        let changedAt = Number.NEGATIVE_INFINITY
        for (const [at, [look, gap]] of looks.entries()) {
          const was = regime.isApart
          now += gap
          regime.arrived(look, now)
          if (at < 30) t.true(regime.isApart, 'nothing is known yet')
          if (regime.isApart === was) continue
          t.true(now - changedAt >= options.dwellMs)
          changedAt = now
        }
      },
    ),
    { numRuns: 60 },
  )
})

test('decode pods without room, and prefill pods that are far behind: all pods answer', t => {
  const demand = { prefills: 2.5, answers: 2.8, held: 0.63 }
  /** Whether the model finds apart better when it is given up; undefined: it is not. */
  const givenUp = (roomTokens: number, more: (found: Found) => Partial<Found>): boolean | undefined => {
    const regime = new Regime(options)
    const random = seeded(3)
    for (let at = 0; at < 400; at++) {
      const found = foundBy(demand, regime.isApart, random)
      // Where many wait from the first arrival on, they are taken for the beginning of the traffic.
      regime.arrived({ ...found, ...(at < 100 ? {} : more(found)), roomTokens }, at * 1000)
      const seen = regime.demand()
      if (!regime.isApart && seen !== undefined) return gainOf(seen) > options.margin
    }
    return undefined
  }
  const queueing = ({ bookings, heldTokens }: Found) => ({
    bookings: bookings + 12,
    heldTokens: heldTokens + 12 * demand.held * WEIGHT,
  })
  const late = ({ pendingTokens, bookings, heldTokens }: Found) => ({
    pendingTokens: pendingTokens + 40 * PROMPT,
    bookings: bookings + 80,
    heldTokens: heldTokens + 80 * demand.held * WEIGHT,
  })
  t.is(
    givenUp(0, () => ({})),
    undefined,
  )
  t.is(
    givenUp(447_000, () => ({})),
    undefined,
  )
  t.true(givenUp(150_000, queueing), 'more wait for room than are answered')
  t.true(givenUp(447_000, late))
})

test('a night without requests is not taken for low load until noon', t => {
  const demand = { prefills: 2.5, answers: 2.8, held: 0.63 }
  t.true(isClear(demand) && gainOf(demand) > 0)
  const regime = new Regime(options)
  const random = seeded(5)
  let [now, arrivals] = [0, 0]
  const day = (requests: number, gap: number): void => {
    for (let at = 0; at < requests; at++) {
      now += gap
      // Half of the requests come to this thread.
      arrivals += 2
      regime.arrived({ ...foundBy(demand, regime.isApart, random), prefillMs: 500, arrivals }, now)
    }
  }
  day(600, 400)
  t.true(regime.isApart)
  const before = regime.demand()?.prefills ?? 0
  t.true(Math.abs(before - 2.5) < 0.1)
  now += 8 * 3_600_000
  day(400, 400)
  t.true((regime.demand()?.prefills ?? 0) > before / 2)
  t.true(regime.isApart)
  // Whoever came to other threads meanwhile is no burst.
  now += 3_600_000
  arrivals += 18_000
  day(1, 400)
  t.true((regime.demand()?.prefills ?? 0) < before * 1.5)
})

test('pods that were full and tell no more how full they are hold up nothing', t => {
  const demand = { prefills: 2.5, answers: 2.8, held: 0.63 }
  const regime = new Regime(options)
  const random = seeded(3)
  let now = 0
  const come = (requests: number, roomTokens: number): void => {
    for (let at = 0; at < requests; at++) {
      now += 1000
      regime.arrived({ ...foundBy(demand, regime.isApart, random), roomTokens }, now)
    }
  }
  come(400, 20_000)
  t.false(regime.isApart)
  come(400, 0)
  t.true(regime.isApart)
})
