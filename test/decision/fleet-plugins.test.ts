/** Plugins that know the fleet: labels, classes, adapters, tenants, learned latency. */
import test from 'ava'
import fc from 'fast-check'
import { hashWord } from '#phyllo/data/hash.js'
import {
  circuitClosed,
  hashBlocks,
  healthy,
  labelSelector,
  leastLoad,
  lengthBuckets,
  loraAffinity,
  matchPrefix,
  maxScore,
  noHitLru,
  prefillTime,
  sloHeadroom,
  tenantFairness,
  tokenize,
  topologyAffinity,
  weightedSplit,
} from '#phyllo/decision/plugins/index.js'
import { type Profile, profile } from '#phyllo/decision/profile.js'
import { Trace } from '#phyllo/decision/trace.js'
import { crew } from './crew.js'
import { FakeFleet } from './fake-addon.js'
import { fleetOf, pod, sharedMemory, single, TestWorker } from './helpers.js'

type Labels = Readonly<Record<string, string>>

function label(workers: readonly TestWorker[], labels: readonly Labels[]): void {
  for (const worker of workers) {
    const infos = [...worker.pods.all.slots].flatMap(slot => worker.pods.bySlot(slot) ?? [])
    worker.update(infos.map((info, i) => ({ ...info, labels: labels[i] ?? {} })))
  }
}

/** Slots that a profile picks in so many requests, which end at once. */
function picks(
  made: Profile,
  labels: readonly Labels[],
  count = 60,
  prepare?: (worker: TestWorker) => void,
): number[] {
  const { worker } = fleetOf(labels.length)
  label([worker], labels)
  prepare?.(worker)
  const compiled = worker.compile(made)
  const seen = new Set<number>()
  for (let i = 0; i < count; i++) {
    const { slot, end } = worker.serve(compiled, worker.request({ messages: [] }))
    seen.add(slot)
    end()
  }
  return [...seen].sort((a, b) => a - b)
}

const zones: Labels[] = [{ zone: 'a', rack: '1' }, { zone: 'a', rack: '2' }, { zone: 'b', rack: '1' }, {}]
const select = (options: Parameters<typeof labelSelector>[0]) =>
  profile('p').filter(labelSelector(options)).score(leastLoad()).pick(maxScore()).execute(single())

test('label-selector: all conditions, lists of values, labels that must not be there', t => {
  t.deepEqual(picks(select({ match: { zone: 'a' } }), zones), [0, 1])
  t.deepEqual(picks(select({ match: { zone: ['a', 'b'], rack: '1' } }), zones), [0, 2])
  t.deepEqual(picks(select({ without: ['zone'] }), zones), [3])
  t.deepEqual(picks(select({ match: { zone: 'x' }, orElse: 'all' }), zones), [0, 1, 2, 3])
  t.throws(() => picks(select({ match: { zone: 'x' } }), zones), { message: /no pod/ })
  t.throws(() => labelSelector({}), { message: /needs 'match', 'without' or both/ })
})

test('topology-affinity: rack before zone before anywhere, and only without a break', t => {
  const near = (here: Labels) =>
    profile('p').score(topologyAffinity({ here })).pick(maxScore()).execute(single())
  t.deepEqual(picks(near({ zone: 'a', rack: '1' }), zones), [0])
  t.deepEqual(picks(near({ zone: 'a', rack: '3' }), zones), [0, 1])
  t.deepEqual(picks(near({ zone: 'c', rack: '1' }), zones), [0, 1, 2, 3])
  t.throws(() => topologyAffinity({ here: {} }), { message: /one label at least/ })
})

const versions: Labels[] = [
  { version: 'stable' },
  { version: 'stable' },
  { version: 'canary' },
  { version: 'old' },
]

test('weighted-split: by chance in the given parts, by header always the same, and never to who is out', t => {
  const made = (header?: string) =>
    profile('p')
      .filter(healthy(), weightedSplit({ weights: { stable: 9, canary: 1 }, ...(header && { header }) }))
      .score(leastLoad())
      .pick(maxScore())
      .execute(single())
  for (const workers of [1, 3]) {
    const team = crew(made(), 4, workers)
    label(team.workers, versions)
    for (let i = 0; i < 2000; i++) team.serve({})
    const [a = 0, b = 0, canary = 0, old = 0] = team.perPod()
    t.is(old, 0)
    t.is(a + b + canary, 2000)
    // 200 expected, with a deviation of 13.4.
    t.true(Math.abs(canary - 200) < 70, String(canary))
    team.fleet.set('ready', 2, 0)
    for (let i = 0; i < 100; i++) team.serve({})
    t.is(team.perPod()[2], canary)
  }
  const sticky = crew(made('x-user'), 4, 3)
  label(sticky.workers, versions)
  for (let user = 0; user < 50; user++) {
    const groups = new Set(
      Array.from({ length: 4 }, () => sticky.serve({}, ['x-user', `u${user}`]).slot === 2),
    )
    t.is(groups.size, 1)
  }
  const canary = sticky.perPod()[2] ?? 0
  t.true(canary > 0 && canary < 60, String(canary))
})

test('length-buckets: each length to its pods, the bound included; all others where none of them is left', t => {
  const made = profile('p')
    .prepare(tokenize())
    .filter(
      healthy(),
      lengthBuckets({
        buckets: [{ upTo: 1000, value: 'short' }, { upTo: 8000, value: 'long' }, { value: 'book' }],
      }),
    )
    .score(leastLoad())
    .pick(maxScore())
    .execute(single())
  const labels = [{ prompts: 'short' }, { prompts: 'long' }, { prompts: 'book' }, {}]
  const { worker, fleet } = fleetOf(4)
  label([worker], labels)
  const compiled = worker.compile(made)
  const route = (tokens: number): number[] => {
    fleet.promptTokens = tokens
    return worker.route(compiled, worker.request({ messages: [] })).sort()
  }
  t.deepEqual([1, 1000, 1001, 8000, 8001, 1e6].map(route), [
    [0, 3],
    [0, 3],
    [1, 3],
    [1, 3],
    [2, 3],
    [2, 3],
  ])
  fleet.setAll('ready', [0, 1, 1, 0])
  t.deepEqual(route(10), [1, 2])
  t.throws(
    () =>
      lengthBuckets({
        buckets: [
          { upTo: 5, value: 'a' },
          { upTo: 5, value: 'b' },
        ],
      }),
    { message: /higher 'upTo'/ },
  )
})

const prepared = profile('p').prepare(tokenize(), hashBlocks(), matchPrefix())

test('slo-headroom: late pods are dropped, by rate at first and then as learned; all late are kept or refused', t => {
  const made = (refuse: boolean) =>
    prepared
      .filter(sloHeadroom({ sloMs: 500, margin: 0, tokensPerSecond: 10_000, refuse }))
      .score(leastLoad())
      .pick(maxScore())
      .execute(single())
  const { worker, fleet } = fleetOf(3)
  // 1,000 tokens of its own: 100 ms.
  fleet.setAll('pendingTokens', [4000, 4001, 0])
  const compiled = worker.compile(made(false))
  const route = () => worker.route(compiled, worker.request({ messages: [] })).sort()
  t.deepEqual(route(), [0, 2])
  const ref = worker.pods.bySlot(2)?.ref
  if (ref === undefined) return t.fail()
  for (let i = 0; i < 50; i++) worker.latency.learn(ref, i * 100, i % 7, 0, 600 + i)
  fleet.now = 1000
  t.deepEqual(route(), [0], 'pod 2 has turned out to be slow')
  fleet.set('pendingTokens', 0, 9000)
  t.deepEqual(route(), [0, 1, 2])
  const strict = worker.compile(made(true))
  const ctx = worker.request({ messages: [] })
  t.is(strict.prepare(ctx), undefined)
  t.is(strict.select(ctx, worker.pool, worker.ranking), 'overloaded')
})

const timed = (options: Parameters<typeof prefillTime>[0] = {}) =>
  prepared.filter(healthy(), circuitClosed()).score(prefillTime(options)).pick(maxScore()).execute(single())

/** How many of so many requests that stay each pod gets. */
function shares(
  made: Profile,
  labels: readonly Labels[],
  count: number,
  learn?: (worker: TestWorker) => void,
): number[] {
  const { worker, fleet } = fleetOf(labels.length)
  label([worker], labels)
  learn?.(worker)
  const compiled = worker.compile(made)
  for (let i = 0; i < count; i++) {
    const { slot } = worker.serve(compiled, worker.request({ messages: [] }))
    // What the fake does not book.
    fleet.set('pendingTokens', slot, fleet.get('pendingTokens', slot) + 1000)
  }
  return labels.map((_, slot) => fleet.get('inflight', slot))
}

test('prefill-time, mixed fleet: pods get requests by their speed, as labelled or as measured', t => {
  const gpus = [{ gpu: 'h100' }, { gpu: 'h100' }, { gpu: 'a10g' }, { gpu: 'a10g' }]
  const classes = { h100: 30_000, a10g: 3000 }
  const [fast = 0, , slow = 0] = shares(timed({ classes, requestShare: 0, requestTokens: 0 }), gpus, 44)
  t.true(fast >= 8 * slow && slow >= 1, `${fast} : ${slow}`)
  const even = shares(timed(), gpus, 40)
  t.deepEqual(even, [10, 10, 10, 10], 'nothing is known: all alike')
  const learned = (perToken: readonly number[]) => (worker: TestWorker) => {
    for (const [slot, ms] of perToken.entries()) {
      const ref = worker.pods.bySlot(slot)?.ref
      if (ref === undefined) continue
      for (let i = 0; i < 60; i++) worker.latency.learn(ref, i * 100, i % 5, 0, 10 + i * 100 * ms)
    }
  }
  const [quick = 0, , late = 0] = shares(timed(), gpus, 44, learned([0.03, 0.03, 0.3, 0.3]))
  t.true(quick > 3 * late, `${quick} : ${late}`)
  t.deepEqual(
    shares(timed(), gpus, 40, learned([0.03, 0.036, 0.04, 0.033])),
    [10, 10, 10, 10],
    'noise is none',
  )
})

test('prefill-time: what is known of one model’s pods says nothing of another’s', t => {
  const { worker, fleet } = fleetOf(7)
  // Two small pods, of which one has answered so far, among five large ones.
  worker.update(
    Array.from({ length: 7 }, (_, slot) => ({ ...pod(slot), models: [slot < 2 ? 'small' : 'large'] })),
  )
  for (const slot of [0, 2, 3, 4, 5, 6]) {
    const ms = slot === 0 ? 0.03 : 0.3
    for (let i = 0; i < 60; i++) worker.latency.learn(pod(slot).ref, i * 100, i % 5, 0, 10 + i * 100 * ms)
  }
  const compiled = worker.compile(timed())
  const pool = worker.pods.pool('small')
  if (pool === undefined) return t.fail()
  const served = [0, 0]
  for (let i = 0; i < 20; i++) {
    const [slot = -1] = worker.route(compiled, worker.request({ messages: [] }), pool)
    served[slot] = (served[slot] ?? 0) + 1
    fleet.set('pendingTokens', slot, fleet.get('pendingTokens', slot) + 1000)
  }
  t.deepEqual(served, [10, 10])
})

test('prefill-time, shared KV store: what another pod has is worth what fetching it saves', t => {
  const route = (fetchTokensPerSecond: number | undefined, queued: number): number | undefined => {
    const { worker, fleet } = fleetOf(2)
    fleet.promptTokens = 10_000
    fleet.cached = new Map([[0, 9000]])
    fleet.set('pendingTokens', 0, queued)
    const options = {
      tokensPerSecond: 10_000,
      requestShare: 0,
      requestTokens: 0,
      ownFactor: 1,
      backlogTokens: 1e12,
    }
    const compiled = worker.compile(
      timed({ ...options, ...(fetchTokensPerSecond && { fetchTokensPerSecond }) }),
    )
    return worker.route(compiled, worker.request({ messages: [] }))[0]
  }
  t.is(route(undefined, 8900), 0)
  t.is(route(undefined, 9100), 1)
  // 9,000 tokens at 90,000 a second: 100 ms, as long as 1,000 tokens of prefill.
  t.is(route(90_000, 900), 0)
  t.is(route(90_000, 1100), 1)
  t.is(route(1000, 8900), 0, 'slower than computing: not fetched')
})

test('prefill-time, full KV caches: what is in use beyond its room counts as queued', t => {
  const { worker, fleet } = fleetOf(2)
  for (const slot of [0, 1]) fleet.caches.set(slot, { held: 0, room: 1000 })
  const compiled = worker.compile(timed())
  const route = (use: number, cached: number): number | undefined => {
    fleet.set('kvUse', 0, use)
    fleet.cached = new Map([[0, cached]])
    return worker.route(compiled, worker.request({ messages: [] }))[0]
  }
  t.is(route(0.79, 500), 0)
  // 16,000 tokens · 0.02 is less than the 550 saved, 0.05 more.
  t.is(route(0.82, 500), 0)
  t.is(route(0.85, 500), 1)
})

test('prefill-time: more cached, less queued, fewer requests is never worse', t => {
  const pod = fc.record({
    queued: fc.nat(50_000),
    inflight: fc.nat(40),
    cached: fc.nat(1000),
    use: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  fc.assert(
    fc.property(fc.array(pod, { minLength: 2, maxLength: 6 }), pod, (others, base) => {
      const { worker, fleet } = fleetOf(others.length + 2)
      const better = {
        queued: base.queued >> 1,
        inflight: base.inflight >> 1,
        cached: Math.min(1000, base.cached + 64),
        use: base.use / 2,
      }
      for (const [slot, each] of [base, better, ...others].entries()) {
        fleet.set('pendingTokens', slot, each.queued)
        fleet.set('inflight', slot, each.inflight)
        fleet.set('kvUse', slot, each.use)
        fleet.caches.set(slot, { held: 0, room: 4000 })
        fleet.cached.set(slot, each.cached)
      }
      const order = worker.route(worker.compile(timed()), worker.request({ messages: [] }))
      t.true(order.indexOf(1) < order.indexOf(0) || base.cached === 1000, String(order))
    }),
    { numRuns: 200 },
  )
})

for (const workers of [1, 3]) {
  const where = workers === 1 ? 'one worker' : 'three workers'

  test(`lora-affinity, ${where}: adapters stay where they are loaded, new ones go where there is room`, t => {
    const made = profile('p')
      .score(loraAffinity({ places: 2, baseModels: ['base'] }))
      .pick(maxScore())
      .execute(single())
    const team = crew(made, 3, workers)
    const ask = (adapter: string): number => {
      const { slot, end } = team.serve({}, [], adapter)
      end()
      return slot
    }
    const homes = new Map(['a', 'b', 'c', 'd', 'e', 'f'].map(name => [name, ask(name)]))
    const counts = [0, 1, 2].map(slot => [...homes.values()].filter(home => home === slot).length)
    t.deepEqual(counts, [2, 2, 2])
    for (let i = 0; i < 60; i++) {
      const name = 'abcdef'[i % 6] ?? 'a'
      t.is(ask(name), homes.get(name) ?? -1)
    }
    t.is(new Set(Array.from({ length: 9 }, () => ask('base'))).size, 3)
    // A third adapter on a pod pushes out the one that was used least recently there.
    const home = ask('g')
    const [first = '', second = ''] = [...homes].filter(([, slot]) => slot === home).map(([name]) => name)
    team.fleet.set('inflight', home, 50)
    t.is(ask('g'), home)
    t.is(ask(second), home)
    t.not(ask(first), home)
  })

  test(`lora-affinity, ${where}: as the engine says, then by what was sent since`, t => {
    const made = profile('p')
      .score(loraAffinity({ places: 2 }))
      .pick(maxScore())
      .execute(single())
    const team = crew(made, 5, workers)
    const { adapters } = team.next().worker.board
    // The last pod says nothing, and `x` was sent there.
    adapters.tell(0, { max: 2, running: ['x', 'a'], waiting: [] }, adapters.turn())
    adapters.tell(1, { max: 2, running: ['a'], waiting: [] }, adapters.turn())
    adapters.tell(2, { max: 2, running: ['a', 'b'], waiting: ['x'] }, adapters.turn())
    adapters.tell(3, { max: 2, running: ['a'], waiting: ['c'] }, adapters.turn())
    for (const name of ['y', 'x', 'z']) adapters.used(4, hashWord(name))
    const scores = (adapter: string): number[] => {
      const { worker, compiled } = team.next()
      const ctx = worker.request({})
      ctx.model = adapter
      const trace = new Trace(worker.pods)
      compiled.select(ctx, worker.pool, worker.ranking, trace)
      worker.contexts.give(ctx)
      return Object.values(trace.selections[0]?.scores[0]?.raw ?? {})
    }
    t.deepEqual(scores('x'), [1, 0.8, 0.6, 0, 1])
    t.deepEqual(scores('a'), [1, 1, 1, 1, 0])
    t.deepEqual(scores('c'), [0, 0.8, 0, 0.6, 0])
    t.deepEqual(scores('y'), [0, 0.8, 0, 0, 0])
    team.fleet.set('inflight', 1, 1)
    const { slot, end } = team.serve({}, [], 'new')
    t.is(slot, 1)
    end()
    t.deepEqual(scores('new'), [0, 1, 0, 0, 0])
    t.deepEqual(scores('other'), [0, 0, 0, 0, 0])
    // The next page is asked for, and knows of it.
    adapters.tell(1, { max: 2, running: ['new'], waiting: [] }, adapters.turn())
    t.deepEqual(scores('other'), [0, 0.8, 0, 0, 0])
  })

  test(`tenant-fairness, ${where}: who takes too much of a busy fleet is held to some pods, the others are not`, t => {
    const made = profile('p')
      .prepare(tokenize())
      .filter(tenantFairness({ allowance: 1, busyRequests: 1 }))
      .score(leastLoad())
      .pick(maxScore())
      .execute(single())
    const team = crew(made, 8, workers)
    const ask = (tenant: string) => team.serve({ messages: [] }, ['x-tenant-id', tenant])
    // Not busy: everybody may go anywhere.
    for (let i = 0; i < 4; i++) ask('small')
    for (let i = 0; i < 60; i++) ask('large')
    const used = new Set(Array.from({ length: 80 }, () => ask('large').slot))
    // 140 of 144 requests are its, where half would be fair: four of eight pods.
    t.is(used.size, 4, String([...used]))
    const free = new Set(Array.from({ length: 40 }, () => ask('small').slot))
    t.true(
      [...free].every(slot => !used.has(slot)),
      'they find the pods that are free of it',
    )
    team.fleet.now = 60_000
    t.is(new Set(Array.from({ length: 8 }, () => ask('large').slot)).size > 1, true)
    t.true(new Set(Array.from({ length: 60 }, () => ask('alone').slot)).size >= 4)
  })
}

test('tenant-fairness: routers with other slots for the same pods hold a tenant to the same ones', t => {
  const held = (order: readonly number[]): string[] => {
    const { worker, fleet } = fleetOf(8)
    worker.update(order.map((which, slot) => pod(slot, `pod-${which}`)))
    const compiled = worker.compile(
      profile('p')
        .prepare(tokenize())
        .filter(tenantFairness({ allowance: 1, busyRequests: 1 }))
        .pick(maxScore({ tieBreak: 'random' }))
        .execute(single()),
    )
    const ask = (tenant: string) =>
      worker.serve(compiled, worker.request({ messages: [] }, ['x-tenant-id', tenant]))
    ask('small')
    for (let i = 0; i < 100; i++) ask('large')
    fleet.setAll(
      'inflight',
      order.map(() => 10),
    )
    const ids = Array.from({ length: 60 }, () => worker.pods.bySlot(ask('large').slot)?.id ?? '')
    return [...new Set(ids)].sort()
  }
  const [here, there] = [held([0, 1, 2, 3, 4, 5, 6, 7]), held([5, 3, 0, 7, 6, 1, 4, 2])]
  t.is(here.length, 4)
  t.deepEqual(there, here)
})

test('no-hit-lru: cold requests go on in turn when the count of turns has wrapped, and a new pod is first', t => {
  const shared = sharedMemory(64, 1)
  const worker = new TestWorker(
    new FakeFleet(64),
    [0, 1, 2, 3].map(slot => pod(slot)),
    1,
    shared,
  )
  const compiled = worker.compile(
    profile('p')
      .prepare(tokenize(), hashBlocks(), matchPrefix())
      .score(noHitLru())
      .pick(maxScore({ tieBreak: 'random' }))
      .execute(single()),
  )
  const serve = (count: number): number[] =>
    Array.from({ length: count }, () => {
      const { slot, end } = worker.serve(compiled, worker.request({ messages: [] }))
      end()
      return slot
    })
  // Two turns before the last positive one.
  new Int32Array(shared.board.memory)[0] = 2 ** 31 - 3
  const slots = serve(40)
  for (let i = 0; i < 40; i += 4) t.is(new Set(slots.slice(i, i + 4)).size, 4, slots.join())
  worker.update([0, 1, 2, 3, 4].map(slot => pod(slot)))
  t.deepEqual(serve(1), [4])
})
