/** Numbers that cross the boundary mean the same on both sides: columns, words, flags, refusals. */
import test, { type ExecutionContext } from 'ava'
import {
  BODY_KINDS,
  BOOK,
  BOOKED,
  BOOKED_WORDS,
  FIELDS,
  type Lane,
  LOAD,
  LOAD_COLUMNS,
  loadNative,
  MAX_SLOTS,
  NO_TICKET,
  OPS,
  OUTCOME,
  POD_STATUS_WORDS,
  type PodRef,
  REFUSED,
  type SharedState,
  type SharedStateOptions,
  STATS,
  STATS_WORDS,
  SUMMARY,
  SUMMARY_WORDS,
  slotOf,
} from '#phyllo/data/native.js'
import { STATE_OPTIONS } from './state-options.js'

const addon = loadNative()
const WIDTH = 64
let states = 0

function open(
  t: ExecutionContext,
  options: Partial<SharedStateOptions> = {},
): {
  state: SharedState
  lane: Lane
  pods: PodRef[]
} {
  const name = `codes-${states++}`
  t.teardown(() => addon.SharedState.close(name))
  const state = addon.SharedState.open(name, {
    ...STATE_OPTIONS,
    width: WIDTH,
    breakerFailures: 2,
    breakerCooldownMs: 100,
    ...options,
  })
  const pods = ['a', 'b', 'c'].map(id => state.addPod(id))
  for (const pod of pods) state.activatePod(pod)
  return { state, lane: new addon.Lane(state), pods }
}

const OPS_ALL = OPS.tokenize | OPS.hashBlocks | OPS.matchPrefix

function prepared(state: SharedState, lane: Lane, prompt: string): number {
  const body = Buffer.from(JSON.stringify({ model: 'm', prompt }))
  const fields = new Uint32Array(2 * FIELDS.length)
  lane.scan(body, BODY_KINDS.completions, fields)
  const model = state.addModel('m', { blockSize: 16 })
  return lane.prepare(model, OPS_ALL, BODY_KINDS.completions, body, fields)
}

test('SUMMARY words, cached tokens by slot, ranked pairs', t => {
  const { state, lane, pods } = open(t)
  const [, pod = pods[0]] = pods
  if (pod === undefined) return t.fail()
  // Text-hash fallback: four bytes are a token, so that 1,278 bytes and two quotes are 320 tokens in 20 blocks.
  const ticket = prepared(state, lane, 'x'.repeat(1278))
  const words = new Uint32Array(SUMMARY_WORDS)
  lane.summary(ticket, words)
  t.is(words[SUMMARY.promptTokens], 320)
  t.is(words[SUMMARY.blocks], 20)
  t.is(words[SUMMARY.blockSize], 16)
  t.is(words[SUMMARY.exact], 0)
  t.is(words[SUMMARY.matched], 0)
  const out = new Uint32Array(1)
  t.is(lane.book(ticket, pod, 0, BOOK.learnPrefix, out), pod)
  t.is(out[0], 320, 'all uncached')
  const again = prepared(state, lane, 'x'.repeat(1278))
  lane.summary(again, words)
  t.is(words[SUMMARY.matched], 1)
  const cached = new Uint32Array(WIDTH)
  const best = lane.cachedTokens(again, cached)
  t.true(best > 0 && best <= 320)
  t.deepEqual(
    [...cached].flatMap((tokens, slot) => (tokens > 0 ? [slot, tokens] : [])),
    [slotOf(pod), best],
  )
  const pairs = new Uint32Array(2 * WIDTH)
  t.is(lane.ranked(again, pairs), 1)
  t.deepEqual([...pairs.subarray(0, 2)], [slotOf(pod), best])
})

test('STATS places; over the memory budget the least recently predicted blocks go', t => {
  const { state, lane, pods } = open(t, { indexBytes: 2 ** 20, predictedBlocks: 1_000_000 })
  const [pod] = pods
  if (pod === undefined) return t.fail()
  const out = new Uint32Array(1)
  const stats = new Float64Array(STATS_WORDS)
  state.stats(stats)
  t.deepEqual([stats[STATS.entries], stats[STATS.livePods], stats[STATS.sessions]], [0, 3, 0])
  // 20,000 blocks of 64 bytes in each of two prompts: over 2 MB of index and ledger.
  const prompts = ['a', 'b'].map(letter => letter.repeat(20_000 * 64))
  for (const prompt of prompts) lane.book(prepared(state, lane, prompt), pod, 0, BOOK.learnPrefix, out)
  state.stats(stats)
  t.is(stats[STATS.entries], 40_000)
  t.true((stats[STATS.bytes] ?? 0) > 2 ** 20)
  for (let second = 1; second <= 10; second++) state.setTime(second * 1000)
  state.stats(stats)
  t.true((stats[STATS.shedBlocks] ?? 0) > 20_000)
  t.is((stats[STATS.entries] ?? 0) + (stats[STATS.shedBlocks] ?? 0), 40_000)
  t.is(stats[STATS.demotedPods], 0)
  t.true((stats[STATS.bytes] ?? 0) < 1.2 * 2 ** 20)
  const cached = new Uint32Array(WIDTH)
  const tokens = prompts.map(prompt => lane.cachedTokens(prepared(state, lane, prompt), cached))
  t.is(tokens[0], 0, 'the older prompt is gone')
  t.true((tokens[1] ?? 0) > 0, 'of the newer one the beginning is left')
})

test('LOAD columns and REFUSED codes, by doing what each stands for', t => {
  const { state, lane, pods } = open(t)
  const [a, b, c] = pods
  if (a === undefined || b === undefined || c === undefined) return t.fail()
  const out = new Uint32Array(BOOKED_WORDS)
  const loads = new Float64Array(LOAD_COLUMNS * WIDTH)
  const column = (name: keyof typeof LOAD, ref: PodRef): number | undefined => {
    t.is(lane.loads(loads), 3)
    return loads[LOAD[name] * WIDTH + slotOf(ref)]
  }
  const book = (ref: PodRef, bound = 0): number => lane.book(NO_TICKET, ref, bound, 0, out)

  const ticket = prepared(state, lane, 'y'.repeat(638))
  t.is(lane.book(ticket, b, 0, 0, out), b)
  t.deepEqual([column('inflight', b), column('pendingTokens', b), column('firstByteMs', b)], [1, 160, 0])
  t.is(book(b, 1), REFUSED.full)
  lane.firstByte(b, 40, 160)
  t.deepEqual([column('inflight', b), column('pendingTokens', b), column('firstByteMs', b)], [1, 0, 40])
  t.deepEqual([out[BOOKED.pendingTokens], out[BOOKED.activeTokens]], [160, 160])
  t.is(column('activeTokens', b), 160, 'the prompt stays in the cache while the answer is made')
  lane.grow(b, 16)
  t.is(column('activeTokens', b), 176)
  const status = new Float64Array(POD_STATUS_WORDS)
  t.true(state.podStatus(b, status))
  t.deepEqual([...status], [1, 0, 0, 0, 2, 0, 176])
  lane.release(b, 0, 176, OUTCOME.ok)
  t.deepEqual([column('inflight', b), column('activeTokens', b), column('inflight', a)], [0, 0, 0])

  t.is(column('ready', c), 1)
  t.true(state.cordonPod(c, true))
  t.is(column('ready', c), 0)
  t.is(book(c), REFUSED.cordoned)
  state.removePod(c)
  t.is(book(c), REFUSED.gone)

  t.is(column('breaker', a), 0)
  const end = (outcome: number): void => {
    t.is(book(a), a)
    lane.release(a, 0, 0, outcome)
  }
  end(OUTCOME.failed)
  end(OUTCOME.ok)
  end(OUTCOME.failed)
  end(OUTCOME.cancelled)
  t.is(column('breaker', a), 0, 'a success starts the count anew, a cancelled one does not count')
  end(OUTCOME.failed)
  t.is(column('breaker', a), 1)
  t.is(book(a), REFUSED.circuitOpen)
  state.setTime(state.now() + 100)
  t.is(column('breaker', a), 2)
  t.is(book(a), a)
  t.is(column('breaker', a), 3)
  t.is(book(a), REFUSED.circuitOpen)
  lane.release(a, 0, 0, OUTCOME.ok)
  t.is(column('breaker', a), 0)
})

test('a pod is one number: generation · 1024 + slot', async t => {
  const { state, lane, pods } = open(t)
  t.deepEqual(pods.map(slotOf), [0, 1, 2])
  const [first] = pods
  if (first === undefined) return t.fail()
  const status = new Float64Array(6)
  t.true(state.podStatus(first, status))
  t.deepEqual([...status], [0, 0, 0, 0, 2, 0])
  state.removePod(first)
  state.releasePod(first)
  // Its slot goes to a later pod, once the sweep in the background has cleared it: with all slots taken, it has.
  const later: PodRef[] = []
  while (later.length < WIDTH - 2) later.push(await swept(() => state.addPod(`later-${later.length}`)))
  const next = later.find(ref => slotOf(ref) === slotOf(first))
  if (next === undefined) return t.fail()
  t.is(Number(next), first + MAX_SLOTS)
  state.activatePod(next)
  t.is(lane.book(NO_TICKET, first, 0, 0, new Uint32Array(1)), REFUSED.gone)
})

test('BOOK.claimSession: the first booking of a session keeps it', t => {
  const { lane, pods } = open(t)
  const [a, b] = pods
  if (a === undefined || b === undefined) return t.fail()
  const out = new Uint32Array(1)
  const first = lane.setSession(NO_TICKET, 'session')
  const second = lane.setSession(NO_TICKET, 'session')
  t.is(lane.sessionPod(first), -1)
  t.is(lane.book(first, a, 0, 0, out), a)
  t.is(lane.sessionPod(first), -1, 'only where asked')
  t.is(lane.book(first, a, 0, BOOK.claimSession, out), a)
  t.is(lane.book(second, b, 0, BOOK.claimSession, out), a, 'it had been claimed in between')
  t.is(lane.sessionPod(lane.setSession(NO_TICKET, 'session')), a)
})

/** What the call gives as soon as it no longer throws; twenty seconds at most. */
async function swept<T>(call: () => T): Promise<T> {
  const deadline = Date.now() + 20_000
  for (;;) {
    try {
      return call()
    } catch (error) {
      if (Date.now() > deadline) throw error
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  }
}
