import test from 'ava'
import fc from 'fast-check'
import { scorer } from '#phyllo/decision/factories.js'
import { maxScore, random, roundRobin, softmax } from '#phyllo/decision/plugins/index.js'
import { profile } from '#phyllo/decision/profile.js'
import { RANKING_SIZE } from '#phyllo/decision/ranking.js'
import { fleetOf, single, type TestWorker } from './helpers.js'

/** Scores that the test sets. */
const given = (values: readonly number[]) =>
  scorer({
    name: 'given',
    summary: '.',
    score(_ctx, pods, out) {
      for (let i = 0; i < pods.length; i++) out[i] = values[pods.slots[i] ?? 0] ?? 0
    },
  })()

function counts(worker: TestWorker, rounds: number, pick: () => number | undefined): number[] {
  const picked = new Array<number>(worker.pool.length).fill(0)
  for (let i = 0; i < rounds; i++) {
    const slot = pick()
    if (slot !== undefined) picked[slot] = (picked[slot] ?? 0) + 1
  }
  return picked
}

test('max-score gives the best few by score, then load, each pod once', t => {
  const scoreAndLoad = fc.record({ score: fc.integer({ min: 0, max: 4 }), load: fc.nat(3) })
  fc.assert(
    fc.property(fc.array(scoreAndLoad, { minLength: 1, maxLength: 40 }), fc.nat(), (pods, seed) => {
      const { worker, fleet } = fleetOf(pods.length)
      fleet.setAll(
        'inflight',
        pods.map(({ load }) => load),
      )
      const compiled = worker.compile(
        profile('p')
          .score(given(pods.map(({ score }) => score / 4)))
          .pick(maxScore({ tieBreak: 'least-load' }))
          .execute(single()),
        { random: () => (seed % 1000) / 1000 },
      )
      const picked = worker.route(compiled, worker.request())
      const order = [...pods].sort((a, b) => b.score - a.score || a.load - b.load).slice(0, RANKING_SIZE)
      t.deepEqual(
        picked.map(slot => pods[slot]),
        order,
      )
      t.is(new Set(picked).size, picked.length)
    }),
    { numRuns: 300 },
  )
})

test('max-score: ties rotate over exactly the tied pods, counted across workers', t => {
  const { workers } = fleetOf(6, 3)
  const scores = [0.5, 1, 0.2, 1, 1, 0]
  const compiled = workers.map(worker => ({
    worker,
    compiled: worker.compile(
      profile('p')
        .score(given(scores))
        .pick(maxScore({ tieBreak: 'rotate' }))
        .execute(single()),
    ),
  }))
  const picks = Array.from({ length: 9 }, (_, i) => {
    const turn = compiled[i % 3]
    return turn?.worker.route(turn.compiled, turn.worker.request())[0]
  })
  t.deepEqual(picks, [1, 3, 4, 1, 3, 4, 1, 3, 4])
})

test('max-score: random ties are even among the tied, and only among them', t => {
  const { worker } = fleetOf(5)
  const compiled = worker.compile(
    profile('p')
      .score(given([1, 1, 0, 0, 1]))
      .pick(maxScore({ tieBreak: 'random' }))
      .execute(single()),
  )
  const picked = counts(worker, 3000, () => worker.route(compiled, worker.request())[0])
  t.deepEqual(picked.slice(2, 4), [0, 0])
  // Binomial with n = 3000, p = 1/3: five standard deviations are 129. The generator is seeded.
  for (const slot of [0, 1, 4]) t.true(Math.abs((picked[slot] ?? 0) - 1000) < 129)
})

test('an idle fleet under least-load does not all go to slot 0', t => {
  const { worker } = fleetOf(4)
  const compiled = worker.compile(profile('p').pick(maxScore()).execute(single()))
  const picked = counts(worker, 400, () => worker.route(compiled, worker.request())[0])
  t.true(picked.every(count => count > 50))
})

test('round-robin is even over three workers that share the cursor', t => {
  const { workers } = fleetOf(4, 3)
  const compiled = workers.map(worker => ({
    worker,
    compiled: worker.compile(profile('p').pick(roundRobin()).execute(single())),
  }))
  const picks: number[] = []
  for (let i = 0; i < 120; i++) {
    // Not in turn: which worker gets a connection is the kernel's choice.
    const turn = compiled[(i * i) % 3]
    picks.push(...(turn?.worker.route(turn.compiled, turn.worker.request()).slice(0, 1) ?? []))
  }
  t.deepEqual(picks.slice(0, 8), [0, 1, 2, 3, 0, 1, 2, 3])
  for (const slot of [0, 1, 2, 3]) t.is(picks.filter(pick => pick === slot).length, 30)
})

test('round-robin: two models that alternate do not split the pods between them', t => {
  const { worker } = fleetOf(2)
  const compiled = worker.compile(profile('p').pick(roundRobin()).execute(single()))
  const seen = [new Set<number>(), new Set<number>()]
  for (let i = 0; i < 8; i++) {
    const ctx = worker.request()
    ctx.modelId = i % 2
    for (const slot of worker.route(compiled, ctx).slice(0, 1)) seen[i % 2]?.add(slot)
  }
  t.deepEqual(
    seen.map(slots => slots.size),
    [2, 2],
  )
})

test('round-robin: fall-backs are the pods that follow', t => {
  const { worker } = fleetOf(3)
  const compiled = worker.compile(profile('p').pick(roundRobin()).execute(single()))
  worker.route(compiled, worker.request())
  t.deepEqual(worker.route(compiled, worker.request()), [1, 2, 0])
})

test('random: every pod as likely as another, also as a fall-back, and never twice', t => {
  const { worker } = fleetOf(5)
  const compiled = worker.compile(profile('p').pick(random()).execute(single()))
  const last = new Array<number>(5).fill(0)
  const first = counts(worker, 5000, () => {
    const picked = worker.route(compiled, worker.request())
    t.is(new Set(picked).size, 5)
    const end = picked[4] ?? 0
    last[end] = (last[end] ?? 0) + 1
    return picked[0]
  })
  // n = 5000, p = 1/5: five standard deviations are 141.
  for (const count of [...first, ...last]) t.true(Math.abs(count - 1000) < 141)
})

test('softmax: chances are exp((total − best) / (spread · temperature)), and the fall-backs are the others by total', t => {
  const { worker } = fleetOf(4)
  const scores = [0.2, 1, 0.6, 0.2]
  const drawn = (temperature: number, rounds = 20_000): number[] => {
    const compiled = worker.compile(
      profile('p').score(given(scores)).pick(softmax({ temperature })).execute(single()),
    )
    return counts(worker, rounds, () => worker.route(compiled, worker.request())[0])
  }
  for (const temperature of [0.3, 1, 5]) {
    const chances = scores.map(score => Math.exp((score - 1) / (0.8 * temperature)))
    const sum = chances.reduce((total, chance) => total + chance, 0)
    for (const [slot, count] of drawn(temperature).entries()) {
      const wanted = ((chances[slot] ?? 0) / sum) * 20_000
      // Five standard deviations of a count.
      t.true(Math.abs(count - wanted) < 5 * Math.sqrt(wanted) + 5, `${temperature}: ${count} for ${wanted}`)
    }
  }
  // The spread times the least number that there is, is 0.
  for (const temperature of [0, 1e-9, Number.MIN_VALUE]) t.deepEqual(drawn(temperature, 100), [0, 100, 0, 0])
  const compiled = worker.compile(
    profile('p')
      .score(given(scores))
      .pick(softmax({ temperature: 5 }))
      .execute(single()),
  )
  for (let i = 0; i < 50; i++) {
    const [first = -1, ...others] = worker.route(compiled, worker.request())
    t.deepEqual(
      others,
      [1, 2, 0, 3].filter(slot => slot !== first),
    )
  }
})

test('softmax: of equals each has the same chance, at any temperature', t => {
  const { worker } = fleetOf(4)
  for (const temperature of [0, 1]) {
    const compiled = worker.compile(
      profile('p')
        .score(given([0.5, 0.5, 0.5, 0.5]))
        .pick(softmax({ temperature }))
        .execute(single()),
    )
    for (const count of counts(worker, 4000, () => worker.route(compiled, worker.request())[0]))
      t.true(Math.abs(count - 1000) < 150, String(count))
  }
})
