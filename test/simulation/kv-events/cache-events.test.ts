/** The events of an engine tell its cache exactly: whoever applies them knows what is in it after every step. */
import test from 'ava'
import fc from 'fast-check'
import { blockKeys } from '#phyllo/simulation/engine/block-keys.js'
import { CacheEvents } from '#phyllo/simulation/engine/kv-events/cache-events.js'
import type { EngineHash, KvEvent } from '#phyllo/simulation/engine/kv-events/encoder.js'
import { engineHash } from '#phyllo/simulation/engine/kv-events/engine-hash.js'
import { a10gLlama8b, type EngineParameters } from '#phyllo/simulation/engine/parameters.js'
import { Engine } from '#phyllo/simulation/engine/scheduler.js'

const tiny: EngineParameters = { ...a10gLlama8b, blockSize: 4, blocks: 12, maxBatch: 4, maxBatchedTokens: 16 }
const options = { blockSize: tiny.blockSize, dialect: 'vllm', hashes: 'int', seed: 7 } as const

/** The first eight tokens are shared by a third of all seeds; short lives let equal requests meet. */
const tokensOf = (seed: number, length: number): Uint32Array =>
  Uint32Array.from({ length }, (_, at) => (at < 8 ? seed % 3 : seed) * 1000 + at)

function submit(engine: Engine, id: string, seed: number, prompt: number, output: number, now: number): void {
  const tokens = tokensOf(seed, prompt + output)
  const keys = blockKeys(tokens, tiny.blockSize)
  const content = { tokens, lora: null, cacheSalt: null }
  engine.submit({ id, promptTokens: prompt, outputTokens: output, keys, content }, now)
}

const nameOf = (hash: EngineHash): string => (typeof hash === 'bigint' ? String(hash) : hash.toString())

/** Counts copies by nothing but the events, and checks each event against what went before it. */
class Account {
  readonly copies = new Map<string, number>()
  /** Tokens of each block and all before it, as far as parents tell. */
  readonly texts = new Map<string, string>()

  apply(event: KvEvent): void {
    if (event.type === 'AllBlocksCleared') this.copies.clear()
    else if (event.type === 'BlockRemoved') for (const hash of event.blockHashes) this.remove(nameOf(hash))
    else this.store(event)
  }

  private remove(name: string): void {
    const count = this.copies.get(name) ?? 0
    if (count === 0) throw new Error('a block was removed that was not there')
    if (count === 1) this.copies.delete(name)
    else this.copies.set(name, count - 1)
  }

  private store(event: Extract<KvEvent, { type: 'BlockStored' }>): void {
    const { blockHashes, parentBlockHash, tokenIds, blockSize } = event
    if (tokenIds.length !== blockHashes.length * blockSize) throw new Error('tokens and blocks do not match')
    const parent = parentBlockHash === null ? null : nameOf(parentBlockHash)
    if (parent !== null && !this.copies.has(parent)) throw new Error('a block came before its parent')
    let text = parent === null ? '' : (this.texts.get(parent) ?? '')
    for (const [at, hash] of blockHashes.entries()) {
      text += `${Array.from(tokenIds).slice(at * blockSize, (at + 1) * blockSize)},`
      const name = nameOf(hash)
      const known = this.texts.get(name)
      if (known !== undefined && known !== text) throw new Error('one name for two contents')
      this.texts.set(name, text)
      this.copies.set(name, (this.copies.get(name) ?? 0) + 1)
    }
  }
}

const command = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('submit' as const),
      seed: fc.nat(6),
      prompt: fc.integer({ min: 1, max: 30 }),
      output: fc.integer({ min: 0, max: 18 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('advance' as const), ms: fc.integer({ min: 0, max: 300 }) }),
  },
  fc.record({ kind: fc.constant('abort' as const), which: fc.nat(20) }),
  fc.record({ kind: fc.constant('reset' as const) }),
)

test('events applied to a naive count give the engine’s cache after every step', t => {
  let copiesSeen = 0
  let removals = 0
  let clears = 0
  fc.assert(
    fc.property(fc.array(command, { maxLength: 80 }), commands => {
      const account = new Account()
      const events = new CacheEvents(options, batch => {
        for (const event of batch) {
          account.apply(event)
          if (event.type === 'BlockRemoved') removals++
          if (event.type === 'AllBlocksCleared') clears++
        }
        compare()
      })
      const engine = new Engine(tiny, events)
      const compare = (): void => {
        const truth = engine.cachedCopies()
        for (const [key, count] of truth) {
          if (account.copies.get(nameOf(events.hashOf(key))) !== count) throw new Error('copies differ')
          if (count > 1) copiesSeen++
        }
        if (truth.size !== account.copies.size) throw new Error('the events know blocks that are gone')
      }
      const live: string[] = []
      let now = 0
      for (const [at, step] of commands.entries()) {
        if (step.kind === 'submit') {
          submit(engine, `r${at}`, step.seed, step.prompt, step.output, now)
          live.push(`r${at}`)
        } else if (step.kind === 'advance') {
          now += step.ms
          engine.advance(now)
        } else if (step.kind === 'abort') engine.abort(live[step.which % Math.max(1, live.length)] ?? '', now)
        else engine.resetCache()
      }
      for (let at = engine.nextEventAt(); at < Number.POSITIVE_INFINITY; at = engine.nextEventAt())
        engine.advance(at)
      // What a reset of the idle engine leaves is told by the next step.
      submit(engine, 'last', 1, 9, 1, 1e9)
      for (let at = engine.nextEventAt(); at < Number.POSITIVE_INFINITY; at = engine.nextEventAt())
        engine.advance(at)
      compare()
    }),
    { numRuns: 400 },
  )
  t.true(copiesSeen > 0 && removals > 0 && clears > 0, 'the runs met second copies, evictions and resets')
})

test('two equal requests at once: the block is stored twice, found until both copies are gone', t => {
  const batches: KvEvent[][] = []
  const events = new CacheEvents(options, batch => batches.push([...batch]))
  const engine = new Engine({ ...tiny, maxBatchedTokens: 64 }, events)
  submit(engine, 'a', 1, 8, 0, 0)
  submit(engine, 'b', 1, 8, 0, 0)
  engine.advance(1e6)
  t.deepEqual(
    batches.flat().map(event => event.type),
    ['BlockStored', 'BlockStored'],
  )
  t.deepEqual([...engine.cachedCopies().values()], [2, 2])
  // Ten blocks of another prompt take all that is free and then the copies one by one, tails first.
  submit(engine, 'c', 2, 38, 0, 2e6)
  engine.advance(3e6)
  t.deepEqual(
    [...engine.cachedCopies().values()].sort(),
    Array.from({ length: 11 }, () => 1),
  )
  t.is(batches.flat().filter(event => event.type === 'BlockRemoved').length, 2)
})

test('an adapter and a salt are told as vLLM tells them, and as SGLang does', t => {
  const tokens = tokensOf(1, 12)
  const request = {
    id: 'r',
    promptTokens: 12,
    outputTokens: 0,
    keys: blockKeys(tokens, 4, 'root'),
    content: { tokens, lora: 'sql', cacheSalt: 'tenant-1' },
  }
  const batches: KvEvent[] = []
  const vllm = new CacheEvents(options, batch => batches.push(...batch))
  vllm.stored(request, 0, 2)
  vllm.stored(request, 2, 3)
  vllm.stepDone()
  t.like(batches[0], { loraId: 1, loraName: 'sql', extraKeys: [['sql', 'tenant-1'], ['sql']], groupIndex: 0 })
  t.like(batches[1], { extraKeys: [['sql']], parentBlockHash: engineHash(request.keys[1] ?? 0, 7, 'int') })
  batches.length = 0
  const sglang = new CacheEvents({ ...options, dialect: 'sglang' }, batch => batches.push(...batch))
  sglang.stored(request, 0, 3)
  for (const key of request.keys) sglang.removed(key)
  sglang.cleared()
  sglang.removed(1)
  sglang.stepDone()
  t.deepEqual(
    batches.map(event => [event.type, event.type === 'AllBlocksCleared' ? 0 : event.blockHashes.length]),
    [
      ['BlockStored', 3],
      ['BlockRemoved', 3],
      ['AllBlocksCleared', 0],
      ['BlockRemoved', 1],
    ],
  )
  t.like(batches[0], { loraName: 'sql', cacheSalt: 'tenant-1' })
  t.false('extraKeys' in (batches[0] ?? {}))
})

test('names: one for one, other seeds other names, 32 bytes if wanted', t => {
  const keys = Array.from({ length: 20_000 }, (_, at) => at * 7919)
  t.is(new Set(keys.map(key => nameOf(engineHash(key, 1, 'int')))).size, keys.length)
  t.not(engineHash(5, 1, 'int'), engineHash(5, 2, 'int'))
  const digest = engineHash(5, 1, 'bytes')
  t.true(digest instanceof Uint8Array && digest.length === 32)
  t.deepEqual(digest, engineHash(5, 1, 'bytes'))
})
