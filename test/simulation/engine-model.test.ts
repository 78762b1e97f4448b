import test from 'ava'
import fc from 'fast-check'
import { BlockCache } from '#phyllo/simulation/engine/block-cache.js'
import { blockKeys } from '#phyllo/simulation/engine/block-keys.js'
import { a10gLlama8b, type EngineParameters } from '#phyllo/simulation/engine/parameters.js'
import { seededRandom } from '#phyllo/simulation/engine/random.js'
import type { EngineEvent } from '#phyllo/simulation/engine/request.js'
import { Engine } from '#phyllo/simulation/engine/scheduler.js'
import { attentionPairs, stepMs } from '#phyllo/simulation/engine/step-time.js'

/** Few small blocks, so that a handful of requests fills, evicts and preempts. */
const tiny: EngineParameters = { ...a10gLlama8b, blockSize: 4, blocks: 12, maxBatch: 4, maxBatchedTokens: 16 }

const tokensOf = (seed: number, length: number): Uint32Array =>
  Uint32Array.from({ length }, (_, at) => (at < 8 ? seed % 3 : seed) * 1000 + at)

/** A request whose first eight tokens are shared by a third of all seeds. */
const request = (id: string, seed: number, prompt: number, output: number, blockSize = tiny.blockSize) => ({
  id,
  promptTokens: prompt,
  outputTokens: output,
  keys: blockKeys(tokensOf(seed, prompt + output), blockSize),
})

function drain(engine: Engine): EngineEvent[] {
  const events: EngineEvent[] = []
  for (let at = engine.nextEventAt(); at < Number.POSITIVE_INFINITY; at = engine.nextEventAt()) {
    events.push(...engine.advance(at))
  }
  return events
}

const command = fc.oneof(
  fc.record({
    kind: fc.constant('submit' as const),
    seed: fc.nat(6),
    prompt: fc.integer({ min: 1, max: 30 }),
    output: fc.integer({ min: 0, max: 18 }),
  }),
  fc.record({ kind: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 200 }) }),
  fc.record({ kind: fc.constant('abort' as const), which: fc.nat(20) }),
  fc.record({ kind: fc.constant('reset' as const) }),
)

test('any mix of requests, time, aborts and resets keeps the model’s promises', t => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), commands => {
      const engine = new Engine(tiny)
      const live = new Map<string, { prompt: number; output: number; tokens: number }>()
      let now = 0
      let next = 0
      let lastAt = 0
      const hear = (events: readonly EngineEvent[]): void => {
        for (const event of events) {
          if (event.at < lastAt || event.at > now) throw new Error('events out of time')
          lastAt = event.at
          const state = live.get(event.id)
          if (state === undefined) throw new Error(`${event.id}: an event after its end`)
          if (event.type === 'first-token' && state.tokens++ !== 0) throw new Error('a second first token')
          if (event.type === 'token' && event.index !== state.tokens++)
            throw new Error('a token out of order')
          if (event.type !== 'finished') continue
          if (state.tokens !== state.output) throw new Error('finished early or late')
          if (event.cachedTokens >= state.prompt) throw new Error('the whole prompt cannot be cached')
          if (event.cachedTokens % tiny.blockSize !== 0) throw new Error('half a block was cached')
          live.delete(event.id)
        }
      }
      for (const step of commands) {
        if (step.kind === 'submit') {
          const id = `r${next++}`
          engine.submit(request(id, step.seed, step.prompt, step.output), now)
          live.set(id, { prompt: step.prompt, output: step.output, tokens: 0 })
        } else if (step.kind === 'advance') {
          now += step.ms
          hear(engine.advance(now))
        } else if (step.kind === 'abort') {
          const id = [...live.keys()][step.which]
          if (id !== undefined && !engine.abort(id, now)) throw new Error('nothing to abort')
          if (id !== undefined) live.delete(id)
        } else engine.resetCache()
        const stats = engine.stats()
        if (stats.usedBlocks > stats.blocks || stats.cachedBlocks > stats.blocks)
          throw new Error('over capacity')
        if (stats.running > tiny.maxBatch) throw new Error('batch too large')
        if (stats.waiting + stats.running !== live.size) throw new Error('requests lost or invented')
        if (stats.prefixHits > stats.prefixQueries) throw new Error('more hits than queries')
      }
      now = Number.MAX_SAFE_INTEGER
      hear(drain(engine))
      if (live.size > 0 || engine.stats().usedBlocks > 0) throw new Error('requests or blocks left over')
      return engine.resetCache() && engine.stats().cachedBlocks === 0
    }),
    { numRuns: 400 },
  )
  t.pass()
})

/** Chains of blocks as requests use them; the model is a plain list in order of last use. */
test('the block cache conserves blocks and evicts the least recently used leaf first', t => {
  const chain = fc.record({ family: fc.nat(4), length: fc.integer({ min: 1, max: 5 }), fork: fc.nat(3) })
  fc.assert(
    fc.property(fc.array(chain, { maxLength: 40 }), chains => {
      const cache = new BlockCache(8)
      const keyAt = (c: { family: number; fork: number }, depth: number): number =>
        depth < 2 ? c.family * 100 + depth : c.family * 100 + c.fork * 10 + depth
      const lastUse = new Map<number, number>()
      const parent = new Map<number, number | null>()
      let clock = 0
      for (const c of chains) {
        const keys = Float64Array.from({ length: c.length }, (_, depth) => keyAt(c, depth))
        const before = [...lastUse.keys()].filter(key => cache.has(key))
        const blocks = cache.acquirePrefix(keys, keys.length)
        const hit = blocks.length
        for (let depth = hit; depth < keys.length; depth++) {
          const block = cache.allocate()
          if (block < 0) throw new Error('eight blocks must hold a chain of five')
          cache.name(block, keys[depth] ?? -1)
          blocks.push(block)
        }
        const evicted = before.filter(key => !cache.has(key))
        for (const key of evicted) {
          const isLeaf = ![...parent].some(([child, up]) => up === key && cache.has(child))
          if (!isLeaf) throw new Error('a block went before its successors')
          const older = before.filter(
            k => cache.has(k) && !keys.includes(k) && (lastUse.get(k) ?? 0) < (lastUse.get(key) ?? 0),
          )
          if (older.length > 0) throw new Error('not the least recently used')
        }
        // Tail first, as a request gives its blocks back.
        for (let depth = keys.length - 1; depth >= 0; depth--) lastUse.set(keyAt(c, depth), ++clock)
        keys.forEach((key, depth) => {
          parent.set(key, depth === 0 ? null : keyAt(c, depth - 1))
        })
        if (cache.used !== keys.length) throw new Error('used blocks do not add up')
        cache.releaseAll(blocks)
        if (cache.used !== 0 || cache.free !== 8) throw new Error('blocks were not conserved')
      }
    }),
    { numRuns: 500 },
  )
  t.pass()
})

test('a block given back twice is an error, not a second free block', t => {
  const cache = new BlockCache(2)
  const block = cache.allocate()
  cache.releaseAll([block])
  t.throws(() => cache.releaseAll([block]), { message: /more often/ })
})

test('a second turn finds the first one cached, its answer included, but always computes one token', t => {
  const engine = new Engine(tiny)
  engine.submit(request('one', 5, 12, 8), 0)
  drain(engine)
  // 12 + 8 tokens: 19 are computed (the last one is only sampled), so 4 full blocks are there.
  engine.submit(request('two', 5, 24, 1), 1e6)
  const second = drain(engine).find(event => event.type === 'finished')
  t.is(second?.type === 'finished' ? second.cachedTokens : -1, 16)
  engine.submit(request('again', 5, 16, 1), 2e6)
  const again = drain(engine).find(event => event.type === 'finished')
  t.is(
    again?.type === 'finished' ? again.cachedTokens : -1,
    12,
    'a fully cached prompt still computes a block',
  )
})

test('step times are those of the closed forms', t => {
  const p = a10gLlama8b
  // A prefill of n tokens in one chunk: overhead + c1·n + c2·n(n+1)/2.
  const n = 1500
  const engine = new Engine(p)
  engine.submit(request('cold', 1, n, 1, p.blockSize), 0)
  const cold = drain(engine)[0]?.at ?? Number.NaN
  t.true(
    Math.abs(cold - (p.stepOverheadMs + p.linearMsPerToken * n + (p.attentionMsPerPair * n * (n + 1)) / 2)) <
      1e-6,
  )
  // A decode step of a lone request is bound by memory: all weights and its own context.
  t.true(
    Math.abs(
      stepMs([{ tokens: 1, context: 999 }], p) -
        (p.stepOverheadMs + p.weightReadMs + 1000 * p.kvReadMsPerToken),
    ) < 1e-9,
  )
  // Chunks of a prefill see as many pairs as the whole.
  t.is(attentionPairs(512, 0) + attentionPairs(512, 512) + attentionPairs(1, 1024), attentionPairs(1025, 0))
  // The figures that the parameters' documentation names.
  t.is(p.blocks, 2082)
  t.is(Math.round(p.weightReadMs * 10), 335)
  t.is(Math.round(1000 / p.linearMsPerToken / 100), 28)
})

test('a warm prompt costs the uncached tokens and their attention to the cached context', t => {
  const p = { ...a10gLlama8b, maxBatchedTokens: 8192 }
  const engine = new Engine(p)
  engine.submit(request('cold', 1, 4000, 1, p.blockSize), 0)
  drain(engine)
  engine.submit(request('warm', 1, 4500, 1, p.blockSize), 1e6)
  const warm = (drain(engine)[0]?.at ?? Number.NaN) - 1e6
  t.true(Math.abs(warm - stepMs([{ tokens: 500, context: 4000 }], p)) < 1e-6)
})

/** Mean wait of `count` Poisson arrivals at one request at a time and a fixed service time, in service times. */
function meanWait(load: number, count: number): number {
  const p = { ...a10gLlama8b, maxBatch: 1, blocks: 64 }
  const prompt = 200
  const service = stepMs([{ tokens: prompt, context: 0 }], p)
  const engine = new Engine(p)
  const random = seededRandom(7)
  const arrivals = new Map<string, number>()
  const noKeys = new Float64Array(0)
  let now = 0
  let waited = 0
  const hear = (events: readonly EngineEvent[]): void => {
    for (const event of events) {
      if (event.type === 'finished') waited += event.at - (arrivals.get(event.id) ?? Number.NaN) - service
    }
  }
  for (let i = 0; i < count; i++) {
    now += (-Math.log(1 - random()) * service) / load
    hear(engine.advance(now))
    arrivals.set(String(i), now)
    engine.submit({ id: String(i), promptTokens: prompt, outputTokens: 1, keys: noKeys }, now)
  }
  hear(drain(engine))
  return waited / count / service
}

test('one request at a time under Poisson arrivals waits as an M/D/1 queue: ρ / 2(1−ρ) service times', t => {
  const waits = [0.3, 0.6, 0.8].map(load => ({ load, wait: meanWait(load, 40_000) }))
  for (const { load, wait } of waits) {
    const expected = load / (2 * (1 - load))
    t.true(Math.abs(wait / expected - 1) < 0.08, `load ${load}: waited ${wait}, expected ${expected}`)
  }
})

test('when blocks run out the youngest is preempted, starts over from the cache, and both finish', t => {
  const engine = new Engine({ ...tiny, blocks: 10 })
  engine.submit(request('old', 3, 16, 12), 0)
  engine.submit(request('young', 4, 16, 12), 0)
  const finished = drain(engine).filter(event => event.type === 'finished')
  t.is(finished.length, 2)
  t.deepEqual(
    finished.map(event => [event.id, event.type === 'finished' && event.preemptions > 0]),
    [
      ['old', false],
      ['young', true],
    ],
  )
  t.is(engine.stats().generationTokens, 24)
})

test('an abort frees blocks and the place in the batch at once, in the middle of a step', t => {
  const engine = new Engine({ ...tiny, maxBatch: 1 })
  engine.submit(request('a', 1, 20, 10), 0)
  engine.submit(request('b', 2, 20, 10), 0)
  engine.advance(0)
  t.like(engine.stats(), { running: 1, waiting: 1 })
  t.true(engine.stats().usedBlocks > 0)
  t.true(engine.abort('a', 1))
  t.like(engine.stats(), { running: 0, waiting: 1, usedBlocks: 0, aborted: 1 })
  t.false(engine.abort('a', 1))
  t.deepEqual(new Set(drain(engine).map(event => event.id)), new Set(['b']))
})

test('what could never run is refused when it is submitted', t => {
  const engine = new Engine(tiny)
  t.throws(() => engine.submit(request('huge', 1, 40, 9), 0), { instanceOf: RangeError })
  t.throws(() => engine.submit(request('empty', 1, 0, 9), 0), { instanceOf: RangeError })
  engine.submit(request('fits', 1, 40, 8), 0)
  t.throws(() => engine.submit(request('fits', 1, 4, 1), 0), { message: /already/ })
  t.is(drain(engine).filter(event => event.type === 'finished').length, 1)
})

test('a late timer does not let a request into a step that began before it arrived', t => {
  const late = new Engine(a10gLlama8b)
  late.submit(request('a', 1, 100, 3, 16), 0)
  late.advance(0)
  const firstEnd = late.nextEventAt()
  // The step ended long ago, but nobody has called `advance` when b arrives.
  late.submit(request('b', 2, 100, 1, 16), firstEnd * 10)
  const b = drain(late).find(event => event.id === 'b')
  t.true((b?.at ?? 0) > firstEnd * 10)
})

test('block keys: equal prefixes and roots give equal keys, anything else does not', t => {
  fc.assert(
    fc.property(fc.uint32Array({ minLength: 8, maxLength: 64 }), fc.nat(63), (tokens, at) => {
      const keys = blockKeys(tokens, 4)
      const changed = Uint32Array.from(tokens)
      const place = at % tokens.length
      changed[place] = (changed[place] ?? 0) ^ 1
      const other = blockKeys(changed, 4)
      const firstChanged = Math.floor(place / 4)
      return keys.every((key, block) => (block < firstChanged ? key === other[block] : key !== other[block]))
    }),
  )
  const tokens = tokensOf(1, 16)
  t.notDeepEqual(blockKeys(tokens, 4, 'salt'), blockKeys(tokens, 4))
  t.deepEqual(blockKeys(tokens, 4, 'salt'), blockKeys(tokens, 4, 'salt'))
  t.is(new Set(Array.from({ length: 20_000 }, (_, i) => blockKeys(Uint32Array.of(i), 1)[0])).size, 20_000)
})
