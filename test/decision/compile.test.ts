import test from 'ava'
import { BOOK, OPS } from '#phyllo/data/native.js'
import { createPrepareQueue, PrepareQueue, queuedBytes } from '#phyllo/data/prepare-queue.js'
import { Candidates } from '#phyllo/decision/candidates.js'
import { cost, filter, noOptions, picker, preparer, scorer } from '#phyllo/decision/factories.js'
import { selectionError } from '#phyllo/decision/outcome.js'
import {
  concurrencyCap,
  hashBlocks,
  healthy,
  leastLoad,
  matchPrefix,
  maxScore,
  prefixOverlap,
  sessionAffinity,
  sessionKey,
  tokenize,
} from '#phyllo/decision/plugins/index.js'
import { type Profile, profile } from '#phyllo/decision/profile.js'
import { slot } from '#phyllo/decision/slot.js'
import { cachedTokens, promptLength } from '#phyllo/decision/slots.js'
import { Trace } from '#phyllo/decision/trace.js'
import { PhylloError } from '#phyllo/errors.js'
import { fleetOf, single } from './helpers.js'

const cacheAware = profile('cache-aware')
  .prepare(tokenize(), hashBlocks(), matchPrefix())
  .filter(healthy())
  .score(prefixOverlap({ weight: 3 }), leastLoad({ weight: 2 }))
  .pick(maxScore())
  .execute(single())

const note = slot('note').of<string>()

test('all native steps become one call, and a short body gives no promise', t => {
  const { worker } = fleetOf(4)
  const compiled = worker.compile(cacheAware)
  t.is(compiled.ops, OPS.tokenize | OPS.hashBlocks | OPS.matchPrefix)
  const ctx = worker.request({ messages: [] })
  t.is(compiled.prepare(ctx), undefined)
  t.is(worker.calls('prepare'), 1)
  t.true(ctx.ticket > 0)
  worker.contexts.give(ctx)
  t.is(worker.tickets, 0)
})

test('a body over the limit is prepared on the thread pool, one at the limit is not', async t => {
  const { worker } = fleetOf(4)
  const ctx = worker.request({ prompt: 'hello' })
  const at = worker.compile(cacheAware, { asyncPrepareBytes: ctx.body.length })
  t.is(at.prepare(ctx), undefined)
  const below = worker.compile(cacheAware, { asyncPrepareBytes: ctx.body.length - 1 })
  const pending = below.prepare(ctx)
  t.true(pending instanceof Promise)
  await pending
  // The second preparation gave the first one's ticket back.
  t.is(worker.tickets, 1)
})

test('a template that raises is the client’s template_error, in its own words', t => {
  const { worker, fleet } = fleetOf(4)
  fleet.failure = 'roles must alternate'
  const compiled = worker.compile(cacheAware)
  const error = t.throws(() => compiled.prepare(worker.request()), { instanceOf: PhylloError })
  t.is(error?.code, 'template_error')
  t.is(error?.message, 'roles must alternate')
})

test('a template error on the thread pool rejects with the same', async t => {
  const { worker, fleet } = fleetOf(4)
  fleet.failure = 'roles must alternate'
  const compiled = worker.compile(cacheAware, { asyncPrepareBytes: 0 })
  const error = await t.throwsAsync(async () => compiled.prepare(worker.request()), {
    instanceOf: PhylloError,
  })
  t.is(error?.code, 'template_error')
})

test('beyond the bound of the thread pool’s queue a body is refused, and what ends makes room however it ends', async t => {
  const { worker, fleet } = fleetOf(4)
  const handle = createPrepareQueue(1, 1, 4)
  const prepareQueue = new PrepareQueue(handle, 0)
  const compiled = worker.compile(cacheAware, { asyncPrepareBytes: 0, prepareQueue })
  const first = compiled.prepare(worker.request())
  const refused = await t.throwsAsync(async () => compiled.prepare(worker.request()), {
    instanceOf: PhylloError,
  })
  t.is(refused?.code, 'overloaded')
  t.is(refused?.kind.status, 503)
  await first
  t.is(worker.tickets, 1)
  fleet.failure = 'roles must alternate'
  await t.throwsAsync(async () => compiled.prepare(worker.request()), { message: 'roles must alternate' })
  fleet.failure = undefined
  t.is(queuedBytes(handle), 0)
  await compiled.prepare(worker.request())
  t.is(worker.calls('prepareAsync'), 3)
})

test('TypeScript Prepare plugins run in order, promises awaited, after the native call', async t => {
  const seen: string[] = []
  const step = (name: string, wait: boolean) =>
    preparer({
      name,
      summary: '.',
      reads: [promptLength],
      writes: [note],
      prepare(ctx) {
        seen.push(`${name} ${ctx.get(promptLength)}`)
        ctx.set(note, name)
        return wait ? Promise.resolve().then(() => void seen.push(`${name} done`)) : undefined
      },
    })
  const { worker } = fleetOf(2)
  const withTokens = profile('p')
    .prepare(tokenize(), step('a', false)(), step('b', true)(), step('c', false)())
    .pick(maxScore())
    .execute(single())
  const ctx = worker.request()
  await worker.compile(withTokens).prepare(ctx)
  t.deepEqual(seen, ['a 1000', 'b 1000', 'b done', 'c 1000'])
  t.is(ctx.get(note), 'c')
  worker.contexts.give(ctx)
  t.throws(() => note.read(ctx), { message: /read before it was written/ })
})

test('a Prepare plugin that reads cached tokens never sees those of the ticket that had its number before', t => {
  const { worker, fleet } = fleetOf(2)
  let seen = -1
  const peek = preparer({
    name: 'peek',
    summary: '.',
    reads: [cachedTokens],
    writes: [note],
    prepare(ctx) {
      seen = ctx.get(cachedTokens)[0] ?? -1
    },
  })
  const compiled = worker.compile(
    profile('p').prepare(tokenize(), hashBlocks(), matchPrefix(), peek()).pick(maxScore()).execute(single()),
  )
  fleet.cached = new Map([[0, 100]])
  const first = worker.request()
  worker.route(compiled, first)
  t.is(seen, 100)
  // As a slab would, the fake lane is made to give the same number again.
  worker.contexts.give(first)
  worker.renumberTickets()
  fleet.cached = new Map([[0, 200]])
  worker.route(compiled, worker.request())
  t.is(seen, 200)
})

test('booking flags are those of all plugins of the profile', t => {
  const { worker } = fleetOf(2)
  t.is(worker.compile(cacheAware).bookFlags, BOOK.learnPrefix)
  const sticky = profile('s')
    .prepare(sessionKey())
    .score(sessionAffinity())
    .pick(maxScore())
    .execute(single())
  t.is(worker.compile(sticky).bookFlags, BOOK.claimSession)
})

test('a profile with a missing slot does not compile into a running one', t => {
  const { worker } = fleetOf(2)
  const broken: Profile = { ...cacheAware, prepare: [] }
  t.throws(() => worker.compile(broken), {
    message:
      "profile 'cache-aware': plugin 'prefix-overlap' reads slot 'cachedTokens', which nothing before it writes; " +
      "add to prepare, before it: 'match-prefix'; plugin 'prefix-overlap' reads slot 'promptLength', which nothing " +
      "before it writes; add to prepare, before it: 'tokenize'",
  })
})

test('filters narrow one after another, and scores stay with their pods', t => {
  const { worker } = fleetOf(6)
  const odd = filter({
    name: 'odd',
    summary: '.',
    filter(_ctx, pods, keep) {
      for (let i = 0; i < pods.length; i++) keep[i] = (pods.slots[i] ?? 0) % 2
    },
  })
  const seen: number[] = []
  const not3 = filter({
    name: 'not-3',
    summary: '.',
    filter(_ctx, pods, keep) {
      for (let i = 0; i < pods.length; i++) {
        seen.push(pods.slots[i] ?? -1)
        if (pods.slots[i] === 3) keep[i] = 0
      }
    },
  })
  const bySlot = scorer({
    name: 'by-slot',
    summary: '.',
    score(_ctx, pods, out) {
      for (let i = 0; i < pods.length; i++) out[i] = (pods.slots[i] ?? 0) / 10
    },
  })
  const compiled = worker.compile(
    profile('p').filter(odd(), not3()).score(bySlot()).pick(maxScore()).execute(single()),
  )
  t.deepEqual(worker.route(compiled, worker.request()), [5, 1])
  t.deepEqual(seen, [1, 3, 5])
})

test('what a scorer writes outside 0..1 counts as the nearer end, NaN as 0', t => {
  const { worker } = fleetOf(4)
  const wild = scorer({
    name: 'wild',
    summary: '.',
    score(_ctx, _pods, out) {
      out.set([Number.NaN, 7, -3, 0.5])
    },
  })
  const compiled = worker.compile(
    profile('p')
      .score(wild({ weight: 4 }))
      .pick(maxScore())
      .execute(single()),
  )
  const trace = new Trace(worker.pods)
  const ctx = worker.request()
  compiled.select(ctx, worker.pool, worker.ranking, trace)
  t.deepEqual(trace.selections[0]?.totals, { 'pod-0': 0, 'pod-1': 4, 'pod-2': 0, 'pod-3': 2 })
  t.deepEqual(worker.picked().slice(0, 2), [1, 3])
})

test('an empty selection says why: nobody there, or all busy', t => {
  const { worker, fleet } = fleetOf(3)
  const compiled = worker.compile(
    profile('p')
      .filter(healthy(), concurrencyCap({ max: 2 }))
      .pick(maxScore())
      .execute(single()),
  )
  const ctx = worker.request()
  const select = () => compiled.select(ctx, worker.pool, worker.ranking)
  t.is(select(), 'picked')
  for (const slotNumber of [0, 1, 2]) fleet.set('inflight', slotNumber, 2)
  t.is(select(), 'overloaded')
  t.is(worker.ranking.length, 0)
  for (const slotNumber of [0, 1, 2]) fleet.set('ready', slotNumber, 0)
  t.is(select(), 'no_pod')
  t.is(compiled.select(ctx, { slots: new Uint16Array(0), length: 0 }, worker.ranking), 'no_pod')
  t.is(selectionError('overloaded', { model: 'm', pinnedTo: '' }).kind.status, 503)
  t.is(selectionError('no_pod', { model: 'm', pinnedTo: '' }).code, 'no_pod')
})

test('a cap of one selection does not bind the next', t => {
  const { worker } = fleetOf(3)
  const capped = worker.compile(
    profile('a')
      .filter(concurrencyCap({ max: 2 }))
      .pick(maxScore())
      .execute(single()),
  )
  const free = worker.compile(profile('b').pick(maxScore()).execute(single()))
  const ctx = worker.request()
  worker.route(capped, ctx)
  t.is(ctx.bound, 2)
  worker.route(free, ctx)
  t.is(ctx.bound, 0)
})

test('a plugin that fails is named, whichever stage it is in, and the decision goes on without it', async t => {
  const boom = (_ctx?: unknown, _pods?: unknown, out?: Uint8Array | Float64Array) => {
    out?.fill(0)
    throw new Error('boom')
  }
  const { worker, fleet } = fleetOf(3)
  fleet.setAll('inflight', [3, 1, 2])
  const bad = {
    filter: filter({ name: 'bad-filter', summary: '.', filter: boom }),
    scorer: scorer({ name: 'bad-scorer', summary: '.', score: boom }),
    cost: cost({ name: 'bad-cost', summary: '.', cost: boom }),
    picker: picker({ name: 'bad-picker', summary: '.', pick: boom }),
    sync: preparer({ name: 'bad-sync', summary: '.', writes: [note], prepare: () => boom() }),
    later: preparer({ name: 'bad-later', summary: '.', writes: [note], prepare: async () => boom() }),
  }
  const reader = scorer({ name: 'reader', summary: '.', reads: [note], score: ctx => void ctx.get(note) })
  const rest = () => profile('p').score(leastLoad())
  const cases: [string[], Profile][] = [
    [['bad-filter'], profile('p').filter(bad.filter()).score(leastLoad()).pick(maxScore()).execute(single())],
    [['bad-scorer'], profile('p').score(bad.scorer(), leastLoad()).pick(maxScore()).execute(single())],
    [['bad-cost'], profile('p').score(leastLoad(), bad.cost()).pick(maxScore()).execute(single())],
    [['bad-picker'], rest().pick(bad.picker()).execute(single())],
    [
      ['bad-sync', 'reader'],
      profile('p').prepare(bad.sync()).score(reader(), leastLoad()).pick(maxScore()).execute(single()),
    ],
    [
      ['bad-later', 'reader'],
      profile('p').prepare(bad.later()).score(reader(), leastLoad()).pick(maxScore()).execute(single()),
    ],
  ]
  for (const [names, made] of cases) {
    const failed: string[] = []
    const compiled = worker.compile(made, {
      onPluginFailed: (of, plugin, error) => {
        failed.push(plugin)
        t.is(of, 'p')
        t.regex(String(error), /boom|read before it was written/)
      },
    })
    const ctx = worker.request()
    await compiled.prepare(ctx)
    t.is(compiled.select(ctx, worker.pool, worker.ranking), 'picked')
    t.deepEqual(failed, names)
    t.deepEqual(worker.picked(), [1, 2, 0], String(names))
  }
})

test('an asynchronous filter, scorer, picker or listener is a failed one, and its rejection is nobody’s', async t => {
  const { worker, fleet } = fleetOf(3)
  fleet.setAll('inflight', [3, 1, 2])
  const later = async (..._: unknown[]): Promise<void> => {
    throw new Error('boom')
  }
  const listening = scorer({
    name: 'listening',
    summary: '.',
    options: noOptions,
    build: (_, env) => {
      env.onBooked(later)
      return () => undefined
    },
  })
  const rest = () => profile('p').score(leastLoad())
  const cases: [string, Profile][] = [
    [
      'late-filter',
      profile('p')
        .filter(filter({ name: 'late-filter', summary: '.', filter: later })())
        .score(leastLoad())
        .pick(maxScore())
        .execute(single()),
    ],
    [
      'late-scorer',
      profile('p')
        .score(leastLoad(), scorer({ name: 'late-scorer', summary: '.', score: later })())
        .pick(maxScore())
        .execute(single()),
    ],
    [
      'late-picker',
      rest()
        .pick(picker({ name: 'late-picker', summary: '.', pick: later })())
        .execute(single()),
    ],
    ['onBooked', profile('p').score(leastLoad(), listening()).pick(maxScore()).execute(single())],
  ]
  const unhandled: unknown[] = []
  const hear = (error: unknown) => unhandled.push(error)
  process.on('unhandledRejection', hear)
  for (const [name, made] of cases) {
    const failed: string[] = []
    const compiled = worker.compile(made, {
      onPluginFailed: (_of, plugin, error) => failed.push(`${plugin}: ${String(error)}`),
    })
    const ctx = worker.request()
    t.deepEqual(worker.route(compiled, ctx), [1, 2, 0], name)
    compiled.booked(ctx, 1)
    t.regex(failed.join(), new RegExp(`^${name}: TypeError: it is asynchronous`))
    t.is(failed.length, 1)
  }
  // Rejections are told when the microtasks are through.
  await new Promise(resolve => setImmediate(resolve))
  process.off('unhandledRejection', hear)
  t.deepEqual(unhandled, [])
})

test('a picker that ranks who is no candidate, or nobody, costs the request nothing but its choice', t => {
  const { worker, fleet } = fleetOf(4)
  fleet.setAll('inflight', [3, 1, 2, 0])
  fleet.setAll('ready', [1, 1, 1, 0])
  const pickers: ((slots: number[], push: (slot: number) => void) => void)[] = [
    // The unhealthy one; then what is no slot at all; then one good and one bad.
    (_slots, push) => push(3),
    (_slots, push) => push(999),
    ([first = 0], push) => {
      push(first)
      push(3)
    },
    () => undefined,
  ]
  for (const [i, slip] of pickers.entries()) {
    const failed: string[] = []
    const slipping = picker({
      name: 'slipping',
      summary: '.',
      pick: (_ctx, pods, _scores, ranking) =>
        slip([...pods.slots.subarray(0, pods.length)], at => ranking.push(at)),
    })
    const compiled = worker.compile(
      profile('p').filter(healthy()).score(leastLoad()).pick(slipping()).execute(single()),
      { onPluginFailed: (_of, plugin, error) => failed.push(`${plugin}: ${String(error)}`) },
    )
    t.deepEqual(worker.route(compiled, worker.request()), [1, 2, 0], String(i))
    t.regex(failed.join(), /^slipping: Error: it put (slot \d+ into the ranking, which is no|no pod into)/)
  }
})

test('a build that returns no function is told when the profile is built, not on each request', t => {
  const { worker } = fleetOf(1)
  // What JavaScript may do, and no compiler sees.
  const made = scorer({
    name: 'forgetful',
    summary: '.',
    options: noOptions,
    build: () => JSON.parse('null'),
  })
  t.throws(() => worker.compile(profile('p').score(made()).pick(maxScore()).execute(single())), {
    message: "plugin 'forgetful': its build must return a function, but gave null",
  })
})

test('candidates of a pool in any order are told from others', t => {
  const candidates = new Candidates()
  for (const slots of [[], [5], [1, 4, 9, 700], [9, 1, 700, 4]]) {
    candidates.load({ slots: Uint16Array.from(slots), length: slots.length })
    for (const at of [0, 1, 4, 5, 9, 10, 700, 1023])
      t.is(candidates.has(at), slots.includes(at), `${at} of ${slots}`)
  }
})

test('an error of the catalogue that a plugin throws is the client’s', async t => {
  const { worker } = fleetOf(2)
  const refuse = () => {
    throw new PhylloError('overloaded', 'not now')
  }
  const makers: Profile[] = [
    profile('p')
      .filter(filter({ name: 'f', summary: '.', filter: refuse })())
      .pick(maxScore())
      .execute(single()),
    profile('p')
      .prepare(preparer({ name: 'p', summary: '.', writes: [note], prepare: refuse })())
      .pick(maxScore())
      .execute(single()),
    profile('p')
      .prepare(preparer({ name: 'p', summary: '.', writes: [note], prepare: async () => refuse() })())
      .pick(maxScore())
      .execute(single()),
  ]
  for (const made of makers) {
    const compiled = worker.compile(made, { onPluginFailed: () => t.fail() })
    const ctx = worker.request()
    const run = async () => {
      await compiled.prepare(ctx)
      compiled.select(ctx, worker.pool, worker.ranking)
    }
    t.is((await t.throwsAsync(run, { instanceOf: PhylloError }))?.code, 'overloaded')
  }
})
