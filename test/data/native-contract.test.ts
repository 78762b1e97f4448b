/**
 * The contract of the native addon, held against the real one. The tables below are typed by the contract's own
 * interfaces, so that a member added there does not compile here without a row; at run time the rows must be exactly
 * the members of the addon's classes, and each call must give what the interface says.
 *
 * Found so: the binding once took cursor names as strings while the contract said numbers.
 */
import { fileURLToPath } from 'node:url'
import test, { type ExecutionContext } from 'ava'
import {
  BODY_KINDS,
  BOOK,
  CACHE,
  CACHE_MODE,
  CACHE_WORDS,
  type EventFeed,
  FIELDS,
  HINT,
  HINT_WORDS,
  isPodRef,
  type Lane,
  LOAD_COLUMNS,
  loadNative,
  type NativeAddon,
  OPS,
  type PrefixIndex,
  type SharedState,
  STATS_WORDS,
  type Tokenizer,
} from '#phyllo/data/native.js'
import { STATE_OPTIONS } from './state-options.js'

/** What a call must give, by the type that the interface says. */
type KindOf<R> = undefined extends R
  ? 'undefined'
  : R extends number
    ? 'number'
    : R extends string
      ? 'string'
      : R extends boolean
        ? 'boolean'
        : R extends Uint32Array
          ? 'Uint32Array'
          : R extends BigUint64Array
            ? 'BigUint64Array'
            : R extends Promise<unknown>
              ? 'Promise'
              : R extends null
                ? 'null'
                : 'object'
type Row<M> = M extends (...args: never) => infer R
  ? readonly [KindOf<R>, () => R]
  : readonly [KindOf<M>, () => M]
type Rows<T> = { readonly [K in keyof T]: Row<T[K]> }

const kindOf = (value: unknown): string => {
  if (value === null) return 'null'
  if (typeof value !== 'object') return typeof value
  const name = value.constructor.name
  return ['Uint32Array', 'BigUint64Array', 'Promise'].includes(name) ? name : 'object'
}

/** The rows are exactly the members, and each, called, gives its kind. */
function holds<T extends object>(t: ExecutionContext, instance: T, rows: Rows<T>): void {
  const prototype: object = Object.getPrototypeOf(instance)
  const byName: Readonly<Record<string, readonly [string, () => unknown]>> = rows
  const own = Object.getOwnPropertyNames(prototype).filter(name => name !== 'constructor')
  t.deepEqual(own.sort(), Object.keys(byName).sort())
  for (const [name, [kind, call]] of Object.entries(byName)) t.is(kindOf(call()), kind, name)
}

/** Static members of a class that the addon made, besides those that native functions have of their own. */
const staticsOf = (made: object): string[] => {
  const common = ['length', 'name', 'prototype', 'arguments', 'caller']
  return Object.getOwnPropertyNames(made).filter(name => !common.includes(name))
}

const addon = loadNative()
const modelDir = fileURLToPath(new URL('../../../demo/model', import.meta.url))

let states = 0
function open(t: ExecutionContext): SharedState {
  const name = `contract-${states++}`
  t.teardown(() => addon.SharedState.close(name))
  return addon.SharedState.open(name, STATE_OPTIONS)
}

test('the addon exports what the contract names', t => {
  const names: Readonly<Record<keyof NativeAddon, 'function'>> = {
    SharedState: 'function',
    Lane: 'function',
    EventFeed: 'function',
    PrefixIndex: 'function',
    Tokenizer: 'function',
    hashBlocks: 'function',
    renderTemplate: 'function',
    version: 'function',
  }
  // Of napi-rs's own making: the loader's mark, and the classes of asynchronous tasks, which nobody can construct.
  const besides = new Set(['__napiBindingTarget', 'Prepare', 'LoadModel', 'Learn'])
  const exported = Object.entries(addon).filter(([name]) => !besides.has(name))
  t.deepEqual(Object.fromEntries(exported.map(([name, value]) => [name, typeof value])), names)
  t.regex(addon.version(), /^\d+\.\d+\.\d+$/)
})

test('free functions and factories', t => {
  t.is(kindOf(addon.hashBlocks(Uint32Array.of(1, 2, 3, 4, 5), 2, 'root')), 'BigUint64Array')
  t.is(addon.hashBlocks(Uint32Array.of(1, 2, 3, 4, 5), 2, 'root').length, 2)
  t.is(addon.renderTemplate('{{ messages[0].content }}', '{"messages":[{"content":"leaf"}]}', 0), 'leaf')
  t.throws(() => addon.renderTemplate("{{ raise_exception('no') }}", '{}', 0), { message: /no/ })
  const name = `contract-${states++}`
  t.throws(() => addon.SharedState.open(name), { message: /no state/ })
  const state = addon.SharedState.open(name, STATE_OPTIONS)
  state.addPod('a')
  const again = addon.SharedState.open(name)
  t.not(again, state)
  t.throws(() => again.addPod('a'), undefined, 'one memory by one name')
  addon.SharedState.close(name)
  t.throws(() => addon.SharedState.open(name))
  t.throws(() => addon.SharedState.open(name, { ...STATE_OPTIONS, width: 65 }), {
    message: /64, 256 or 1024/,
  })
  t.deepEqual(staticsOf(addon.SharedState).sort(), ['close', 'open'])
  t.deepEqual(staticsOf(addon.Tokenizer), ['load'])
})

test('SharedState', async t => {
  const state = open(t)
  const ref = state.addPod('first')
  const model = state.addModel('m', { blockSize: 16 })
  const files = { dir: modelDir, blockSize: 16 }
  const status = new Float64Array(CACHE_WORDS)
  const added = state.addModelAsync('o', files)
  const loaded = state.loadModel(model, files)
  const rows: Rows<SharedState> = {
    width: ['number', () => state.width],
    addPod: ['number', () => state.addPod('second')],
    activatePod: ['boolean', () => state.activatePod(ref)],
    cordonPod: ['boolean', () => state.cordonPod(ref, true)],
    podStatus: ['boolean', () => state.podStatus(ref, new Float64Array(6))],
    setPodCache: ['undefined', () => state.setPodCache(ref, 32, 1000, -1)],
    setEngineLoad: ['undefined', () => state.setEngineLoad(ref, 3, 1, 0.5)],
    cacheStatus: ['boolean', () => state.cacheStatus(ref, status)],
    podLost: ['undefined', () => state.podLost(ref, false)],
    setChains: ['undefined', () => state.setChains(model, Uint32Array.of(model, 16, model, 32))],
    removePod: ['boolean', () => state.removePod(ref)],
    releasePod: ['boolean', () => state.releasePod(ref)],
    addModel: ['number', () => state.addModel('n', { dir: modelDir, blockSize: 16 })],
    addModelAsync: ['Promise', () => added],
    loadModel: ['Promise', () => loaded],
    modelFallback: ['string', () => state.modelFallback(model)],
    now: ['number', () => state.now()],
    setTime: ['undefined', () => state.setTime(5)],
    stats: ['undefined', () => state.stats(new Float64Array(STATS_WORDS))],
    forgetPredicted: ['undefined', () => state.forgetPredicted(ref)],
    clearPredicted: ['undefined', () => state.clearPredicted()],
  }
  holds(t, state, rows)
  t.is(state.now(), 5)
  t.deepEqual([status[CACHE.mode], status[CACHE.blockSize], status[CACHE.capacity]], [0, 32, 1000])
  t.false(state.cacheStatus(ref, status), 'it was removed')
  // Its files have come: what had none is matched by tokens now.
  await loaded
  t.is(state.modelFallback(model), null)
  t.is(state.modelFallback(await added), null)
  await t.throwsAsync(state.addModelAsync('x', { dir: '/nonexistent', blockSize: 16 }), {
    message: /nonexistent/,
  })
  t.throws(() => state.loadModel(999, files), { message: /no such model/ })
  t.throws(() => state.addModel('x', { dir: '/nonexistent', blockSize: 16 }), { message: /nonexistent/ })
})

test('Lane', async t => {
  const state = open(t)
  const ref = state.addPod('a')
  state.activatePod(ref)
  const model = state.addModel('m', { dir: modelDir, blockSize: 16 })
  const lane = new addon.Lane(state)
  const body = Buffer.from(JSON.stringify({ model: 'm', prompt: 'a leaf on a stem '.repeat(20) }))
  const fields = new Uint32Array(2 * FIELDS.length)
  const [kind, out] = [BODY_KINDS.completions, new Uint32Array(1)]
  const ops = OPS.tokenize | OPS.hashBlocks | OPS.matchPrefix
  const scan = (): number => lane.scan(body, kind, fields)
  t.is(scan(), 0)
  const ticket = lane.prepare(model, ops, kind, body, fields)
  t.true(ticket > 0)
  const pending = lane.prepareAsync(model, ops, kind, body, fields)
  const hint = new Uint32Array(HINT_WORDS)
  const answer = Buffer.from(JSON.stringify({ choices: [{ index: 0, text: 'and its roots '.repeat(20) }] }))
  const rows: Rows<Lane> = {
    scan: ['number', scan],
    prepare: ['number', () => lane.prepare(model, ops, kind, body, fields)],
    prepareAsync: ['Promise', () => pending],
    lastError: ['string', () => lane.lastError()],
    summary: ['undefined', () => lane.summary(ticket, new Uint32Array(8))],
    cachedTokens: ['number', () => lane.cachedTokens(ticket, new Uint32Array(64))],
    ranked: ['number', () => lane.ranked(ticket, new Uint32Array(128))],
    tokens: ['Uint32Array', () => lane.tokens(ticket)],
    hashes: ['BigUint64Array', () => lane.hashes(ticket)],
    setSession: ['number', () => lane.setSession(ticket, 'key')],
    sessionPod: ['number', () => lane.sessionPod(ticket)],
    recall: ['number', () => lane.recall('key')],
    remember: ['undefined', () => lane.remember('key', ref)],
    loads: ['number', () => lane.loads(new Float64Array(LOAD_COLUMNS * 64))],
    cursor: ['number', () => lane.cursor(7)],
    book: ['number', () => lane.book(ticket, ref, 0, BOOK.learnPrefix, out)],
    cacheHint: ['boolean', () => lane.cacheHint(ticket, ref, hint)],
    checkUsage: ['number', () => lane.checkUsage(ticket, hint[HINT.prompt] ?? 0)],
    shape: ['string', () => lane.shape(ticket)],
    wantsAnswer: ['boolean', () => lane.wantsAnswer(ticket, ref)],
    learnAnswer: ['Promise', () => lane.learnAnswer(ticket, ref, false, [answer])],
    firstByte: ['undefined', () => lane.firstByte(ref, 5, out[0] ?? 0)],
    grow: ['undefined', () => lane.grow(ref, 16)],
    release: ['undefined', () => lane.release(ref, 0, 16, 0)],
    drop: ['undefined', () => lane.drop(ticket)],
  }
  holds(t, lane, rows)
  t.deepEqual([hint[HINT.gpu], hint[HINT.mode], hint[HINT.blockSize]], [0, CACHE_MODE.predicted, 16])
  t.true((hint[HINT.predicted] ?? 0) > 0)
  const later = await pending
  t.true(isPodRef(later), 'a ticket')
  t.is(lane.prepare(999, ops, kind, body, fields), -1)
  t.regex(lane.lastError(), /model/)
})

test('EventFeed', t => {
  const state = open(t)
  const ref = state.addPod('a')
  state.activatePod(ref)
  const feed = new addon.EventFeed(state, ref, { model: 'm', replay: true, firstSequence: 0 })
  const number = (n: number) => Buffer.from(n.toString(16).padStart(16, '0'), 'hex')
  // [1.5, [], 3]
  const empty = Buffer.from('93cb3ff80000000000009003', 'hex')
  const rows: Rows<EventFeed> = {
    connected: ['boolean', () => feed.connected()],
    wants: ['number', () => feed.wants()],
    replayed: ['undefined', () => feed.replayed(number(0), empty)],
    replayDone: ['boolean', () => feed.replayDone()],
    notice: ['string', () => feed.notice()],
    receive: ['boolean', () => feed.receive(number(1), empty)],
    receiveAll: ['boolean', () => feed.receiveAll([number(2), empty, number(3), empty])],
    rankOf: ['number', () => feed.rankOf(empty)],
    disconnected: ['undefined', () => feed.disconnected()],
    replayFailed: ['boolean', () => feed.replayFailed()],
    close: ['undefined', () => feed.close()],
  }
  holds(t, feed, rows)
  const status = new Float64Array(CACHE_WORDS)
  state.cacheStatus(ref, status)
  t.deepEqual([status[CACHE.mode], status[CACHE.sequence], status[CACHE.batches]], [CACHE_MODE.exact, 3, 4])
  t.false(feed.receive(number(4), empty), 'a closed feed takes nothing')
  t.is(feed.rankOf(empty), 3)
  t.throws(() => new addon.EventFeed(state, -1, { model: 'm', replay: false, firstSequence: 0 }))
})

test('PrefixIndex', t => {
  const index = new addon.PrefixIndex(64)
  const hashes = BigUint64Array.of(1n, 2n, 3n)
  const pod = index.addPod()
  const rows: Rows<PrefixIndex> = {
    width: ['number', () => index.width],
    addPod: ['number', () => index.addPod()],
    store: ['undefined', () => index.store(pod, hashes)],
    query: ['number', () => index.query(hashes, new Uint32Array(128))],
    entries: ['number', () => index.entries()],
    remove: ['undefined', () => index.remove(pod, hashes.subarray(2))],
    clear: ['undefined', () => index.clear(pod)],
    removePod: ['undefined', () => index.removePod(pod)],
  }
  holds(t, index, rows)
})

test('Tokenizer', t => {
  const tokenizer = addon.Tokenizer.load(modelDir)
  const ids = tokenizer.encode('a leaf', false)
  const chat = Buffer.from('{"model":"m","messages":[{"role":"user","content":"hi"}]}')
  const rows: Rows<Tokenizer> = {
    encode: ['Uint32Array', () => ids],
    decode: ['string', () => tokenizer.decode(ids)],
    encodeChat: ['Uint32Array', () => tokenizer.encodeChat(chat)],
  }
  holds(t, tokenizer, rows)
  t.is(tokenizer.decode(ids), 'a leaf')
})
