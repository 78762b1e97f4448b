/** A log replayed with the profile that wrote it gives the same picks; with another one, that one's. */
import test from 'ava'
import fc from 'fast-check'
import {
  firstByteTime,
  hashBlocks,
  healthy,
  lengthBuckets,
  loraAffinity,
  matchPrefix,
  noHitLru,
  sloHeadroom,
  softmax,
  tokenize,
  topologyAffinity,
  weightedSplit,
} from '#phyllo/decision/plugins/index.js'
import { profile } from '#phyllo/decision/profile.js'
import { shippedProfiles } from '#phyllo/decision/profiles/index.js'
import { Comparison } from '#phyllo/decision/record/compare.js'
import { Replayer } from '#phyllo/decision/record/replayer.js'
import type { DecisionRecord } from '#phyllo/decision/record/schema.js'
import { FakeFleet } from '../fake-addon.js'
import { seeded, sharedMemory, single, TestWorker } from '../helpers.js'
import { decideAndLog, learn, shake, someFleet, tellAdapters } from './kit.js'

const prepared = profile('fleet').prepare(tokenize(), hashBlocks(), matchPrefix())
/** Plugins that no shipped profile has, and the figures they read. */
const more = prepared
  .filter(
    healthy(),
    weightedSplit({ label: 'zone', weights: { z0: 1, z1: 2, z2: 3 } }),
    sloHeadroom({ sloMs: 200 }),
    lengthBuckets({ label: 'zone', buckets: [{ upTo: 1000, value: 'z0' }, { value: 'z1' }] }),
  )
  .score(
    loraAffinity({ weight: 2, places: 1, baseModels: ['m'] }),
    noHitLru({ weight: 1 }),
    topologyAffinity({ weight: 1, here: { zone: 'z1' } }),
    firstByteTime({ weight: 0.01 }),
  )
  .pick(softmax({ temperature: 0.5 }))
  .execute(single())

const profiles = [...shippedProfiles(single()), more]
const REQUESTS = 25

/** Lines of three workers that share a fleet, and who is asked in turn at random. */
function logOf(profile: (typeof profiles)[number], seed: number): DecisionRecord[] {
  const random = seeded(seed)
  const pods = 1 + Math.floor(random() * 20)
  const fleet = new FakeFleet(64)
  const infos = someFleet(pods, random)
  const shared = sharedMemory(fleet.width, 3)
  const workers = [0, 1, 2].map(row => {
    const worker = new TestWorker(fleet, infos, seed + row + 1, shared, row)
    return { worker, compiled: worker.compile(profile) }
  })
  return Array.from({ length: REQUESTS }, () => {
    shake(fleet, pods, random)
    if (random() < 0.2) {
      const now = someFleet(pods, random)
      for (const { worker } of workers) worker.update(now)
    }
    const at = workers[Math.floor(random() * workers.length)]
    if (at === undefined) throw new Error('unreachable')
    if (random() < 0.4) learn(at.worker, random)
    tellAdapters(at.worker, random)
    return decideAndLog(at.worker, at.compiled, random).record
  })
}

for (const profile of profiles) {
  test(`${profile.name}: the same profile decides the same on its own log, of any fleet and any request`, t => {
    let picked = 0
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 31 }), seed => {
        // Other chance than the workers': whatever is drawn must come from the log.
        const replayer = new Replayer(profile, seeded(seed + 99))
        for (const record of logOf(profile, seed)) {
          const again = replayer.decide(record)
          t.deepEqual(again.ranking, record.decision.ranking)
          t.is(again.outcome, record.decision.outcome)
          t.is(again.missingDraws, 0)
          t.deepEqual(again.missingParts, [])
          t.deepEqual(again.selection?.totals ?? {}, record.decision.totals)
          picked += again.pick === null ? 0 : 1
        }
      }),
      { numRuns: 12 },
    )
    t.true(picked > 60, 'the fleets had pods to pick')
  })
}

test('what the log holds of chance and turns is what makes them the same', t => {
  for (const name of ['random', 'round-robin']) {
    const profile = profiles.find(({ name: own }) => own === name)
    if (profile === undefined) throw new Error(`no ${name}`)
    const log = [1, 2, 3, 4].flatMap(seed => logOf(profile, seed))
    const replayer = new Replayer(profile, seeded(1))
    const comparison = new Comparison()
    for (const record of log) {
      const decision = { ...record.decision, draws: { rolls: [], turns: [] } }
      comparison.add(record, replayer.decide({ ...record, decision }))
    }
    const { samePicks, newDraws, decisions } = comparison.summary()
    t.true(samePicks < decisions, `${name} without the log's numbers`)
    t.true(newDraws > 0)
  }
})

test('another profile decides as it would have in the router: round-robin’s log by least-request, by hand', t => {
  const [roundRobin, leastRequest] = ['round-robin', 'least-request'].map(name =>
    profiles.find(profile => profile.name === name),
  )
  if (roundRobin === undefined || leastRequest === undefined) throw new Error('unreachable')
  const replayer = new Replayer(leastRequest, seeded(3))
  for (const record of logOf(roundRobin, 11)) {
    const { pods } = record
    const open = pods.id.filter((_, i) => {
      const full =
        (pods.maxInflight?.[i] ?? 0) > 0 && (pods.load.inflight?.[i] ?? 0) >= (pods.maxInflight?.[i] ?? 0)
      const breaker = pods.load.breaker?.[i] ?? 0
      return !full && (pods.load.ready?.[i] ?? 1) === 1 && breaker !== 1 && breaker !== 3
    })
    const again = replayer.decide(record)
    t.is(again.pick === null, open.length === 0)
    if (again.pick !== null) t.true(open.includes(again.pick))
  }
})

test('a session lives where the replay put it, where the log does not say', t => {
  const sticky = profiles.find(({ name }) => name === 'session-sticky')
  const roundRobin = profiles.find(({ name }) => name === 'round-robin')
  if (sticky === undefined || roundRobin === undefined) throw new Error('unreachable')
  const fleet = new FakeFleet(64)
  const worker = new TestWorker(
    fleet,
    someFleet(8, () => 0.9),
  )
  const compiled = worker.compile(roundRobin)
  const random = seeded(5)
  const replayer = new Replayer(sticky, seeded(1))
  const homes = new Map<string, string | null>()
  let comebacks = 0
  for (let i = 0; i < 60; i++) {
    const { record } = decideAndLog(worker, compiled, random)
    const { pick } = replayer.decide(record)
    const { session } = record.keys
    if (session === null) continue
    t.is(session.pod, undefined)
    // One model's session is none of another's.
    const name = `${record.model} ${session.hash}`
    if (homes.has(name)) {
      comebacks++
      t.is(pick, homes.get(name) ?? null)
    }
    homes.set(name, pick)
  }
  t.true(comebacks > 10)
})

test('the sums are those of the lines: moves, tokens gained and lost, imbalance', t => {
  const profile = profiles.find(({ name }) => name === 'round-robin')
  if (profile === undefined) throw new Error('unreachable')
  const [line] = logOf(profile, 21).filter(record => record.pods.id.length >= 2)
  if (line === undefined) throw new Error('no such line')
  const comparison = new Comparison()
  const record: DecisionRecord = {
    ...line,
    prompt: { ...line.prompt, tokens: 100 },
    pods: { id: ['a', 'b'], slot: [0, 1], load: {}, cached: [80, 30] },
    decision: { ...line.decision, ranking: ['a', 'b'] },
    keys: { session: null, affinity: line.keys.affinity },
  }
  const as = (pick: string | null) => ({
    pick,
    ranking: [],
    outcome: 'picked' as const,
    missingDraws: 0,
    missingParts: [],
    selection: undefined,
  })
  for (const pick of ['a', 'b', 'b', null]) comparison.add(record, as(pick))
  comparison.add({ ...record, pods: { ...record.pods, cached: null } }, as('a'))
  const { samePicks, moves, cachedTokens, imbalance, picks } = comparison.summary()
  t.is(samePicks, 2)
  t.deepEqual(moves, [
    { from: 'a', to: 'b', requests: 2 },
    { from: 'a', to: 'none', requests: 1 },
  ])
  t.deepEqual(cachedTokens, {
    logged: 320,
    replayed: 140,
    gained: 0,
    lost: 180,
    prompt: 400,
    unknown: 1,
  })
  t.deepEqual(imbalance.logged, { requests: 2, uncachedTokens: 2 })
  t.is(imbalance.replayed.requests, 1)
  t.is(imbalance.replayed.uncachedTokens, (140 * 2) / 160)
  t.deepEqual(picks, { a: { logged: 5, replayed: 2 }, b: { logged: 0, replayed: 2 } })
})
