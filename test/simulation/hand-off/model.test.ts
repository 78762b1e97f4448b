/** The engine model with blocks that outlive their request, and with tokens that another engine has computed. */
import test from 'ava'
import { a10gLlama8b } from '#phyllo/simulation/engine/parameters.js'
import { seededRandom } from '#phyllo/simulation/engine/random.js'
import type { EngineEvent } from '#phyllo/simulation/engine/request.js'
import { Engine } from '#phyllo/simulation/engine/scheduler.js'

const parameters = { ...a10gLlama8b, blocks: 24, maxBatch: 4 }
const { blockSize } = parameters

/** Keys of a prompt out of a few families, so that some share prefixes. */
const keysOf = (family: number, tokens: number): Float64Array =>
  Float64Array.from({ length: Math.floor(tokens / blockSize) }, (_, block) => family * 1000 + block)

const run = (engine: Engine, until = Number.POSITIVE_INFINITY): EngineEvent[] => {
  const events: EngineEvent[] = []
  for (let at = engine.nextEventAt(); at < until; at = engine.nextEventAt())
    events.push(...engine.advance(at))
  return events
}

for (let seed = 1; seed <= 20; seed++) {
  test(`whatever is held, released, aborted and handed over: every request ends, no block is lost (${seed})`, t => {
    const random = seededRandom(seed)
    const engine = new Engine(parameters)
    const held: string[] = []
    const ended = new Set<string>()
    let aborted = 0
    let now = 0
    const hear = (events: readonly EngineEvent[]): void => {
      for (const event of events) {
        if (event.type !== 'finished') continue
        t.false(ended.has(event.id))
        ended.add(event.id)
        if (event.heldBlocks.length > 0) held.push(event.id)
      }
    }
    const release = (): void => {
      const [id] = held.splice(Math.floor(random() * held.length), 1)
      if (id === undefined) return
      t.true(engine.release(id, now))
      t.false(engine.release(id, now))
    }
    for (let i = 0; i < 200; i++) {
      const promptTokens = 1 + Math.floor(random() * 150)
      const remoteTokens = random() < 0.4 ? promptTokens : 0
      const keys = keysOf(Math.floor(random() * 5), promptTokens)
      engine.submit(
        {
          id: `${i}`,
          promptTokens,
          outputTokens: 1 + Math.floor(random() * 20),
          keys,
          remoteTokens,
          holdsBlocks: random() < 0.4,
        },
        now,
      )
      now += random() * 400
      hear(engine.advance(now))
      if (random() < 0.1 && engine.abort(`${i}`, now)) aborted++
      if (random() < 0.5) release()
      const { usedBlocks, holding } = engine.stats()
      t.is(holding, held.length)
      t.true(usedBlocks >= 0 && usedBlocks <= parameters.blocks)
    }
    while (ended.size + aborted < 200) {
      hear(run(engine))
      now = Math.max(now, 1) + 1e6
      if (ended.size + aborted < 200) t.true(held.length > 0, 'only held blocks can keep a request waiting')
      release()
    }
    while (held.length > 0) release()
    t.like(engine.stats(), {
      usedBlocks: 0,
      holding: 0,
      running: 0,
      waiting: 0,
      finished: ended.size,
      aborted,
    })
  })
}

test('tokens that were handed over take blocks, but a decode step’s time instead of a prefill’s', t => {
  const big = { ...a10gLlama8b, blocks: 1000 }
  const firstTokenAt = (remoteTokens: number): number => {
    const engine = new Engine(big)
    engine.submit({ id: 'a', promptTokens: 8000, outputTokens: 1, keys: keysOf(1, 8000), remoteTokens }, 0)
    const [event] = run(engine)
    t.is(engine.stats().remoteTokens, remoteTokens)
    t.is(engine.stats().cachedBlocks, 500, 'what was handed over can be found by the next request')
    return event?.at ?? Number.NaN
  }
  const { stepOverheadMs, weightReadMs, attentionMsPerPair, kvReadMsPerToken } = big
  const step = stepOverheadMs + weightReadMs + 8000 * Math.max(attentionMsPerPair, kvReadMsPerToken)
  t.true(Math.abs(firstTokenAt(8000) - step) < 1e-6)
  t.true(firstTokenAt(0) > 8000 * big.linearMsPerToken)
})
