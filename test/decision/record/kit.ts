/** What tests of the decision log share: a fleet in a random state, requests to it, and the lines they leave. */
import { CacheAges, CacheLook, createCacheAges } from '#phyllo/data/cache-ages.js'
import { isPodRef, slotOf } from '#phyllo/data/native.js'
import type { CompiledProfile } from '#phyllo/decision/compile.js'
import { KeptDraws } from '#phyllo/decision/draws.js'
import { makeRecord } from '#phyllo/decision/record/make.js'
import { type DecisionRecord, decisionRecord } from '#phyllo/decision/record/schema.js'
import { Trace } from '#phyllo/decision/trace.js'
import type { FakeFleet } from '../fake-addon.js'
import { refOf } from '../fake-addon.js'
import { pod, type TestWorker } from '../helpers.js'

export type Random = () => number

const whole = (random: Random, below: number): number => Math.floor(random() * below)

/** Time, loads, breakers, caches and warmth as no test would think of them. */
export function shake(fleet: FakeFleet, pods: number, random: Random): void {
  fleet.cached = new Map()
  fleet.promptTokens = 1 + whole(random, 4000)
  // Often less than what plugins keep their figures for.
  fleet.now += whole(random, 150)
  for (let slot = 0; slot < pods; slot++) {
    fleet.set('inflight', slot, whole(random, 6))
    fleet.set('pendingTokens', slot, whole(random, 3) * 500)
    fleet.set('activeTokens', slot, whole(random, 5) * 700)
    fleet.set('waiting', slot, whole(random, 3))
    fleet.set('kvUse', slot, random())
    fleet.set('firstByteMs', slot, random() * 900)
    fleet.set('breaker', slot, random() < 0.1 ? 1 + whole(random, 3) : 0)
    fleet.set('ready', slot, random() < 0.1 ? 0 : 1)
    fleet.set('warmth', slot, random() < 0.2 ? 0.1 + 0.9 * random() : 1)
    if (random() < 0.5) fleet.cached.set(slot, whole(random, fleet.promptTokens))
    if (random() < 0.3) fleet.caches.set(slot, { held: whole(random, 900), room: 1000 })
  }
  // Requests that nobody has anything of cached.
  if (random() < 0.3) fleet.cached.clear()
}

/** Some of the pods answer; some do not say enough to be known. */
export function learn(worker: TestWorker, random: Random): void {
  for (const slot of worker.pool.slots.subarray(0, worker.pool.length)) {
    const ref = worker.pods.bySlot(slot)?.ref
    const perToken = 0.02 + 0.3 * random()
    const answers = ref === undefined || random() < 0.5 ? 0 : whole(random, 40)
    for (let i = 0; i < answers && ref !== undefined; i++) {
      const tokens = whole(random, 5000)
      worker.latency.learn(ref, tokens, whole(random, 9), random(), 20 + tokens * perToken)
    }
  }
}

/** Some engines say which adapters they have, and some stop to. */
export function tellAdapters({ board: { adapters }, pool }: TestWorker, random: Random): void {
  const some = (): string[] => ['m-lora-a', 'm-lora-b', 'm-lora-c'].filter(() => random() < 0.4)
  for (const slot of pool.slots.subarray(0, pool.length)) {
    const told = { max: 1 + whole(random, 3), running: some(), waiting: some() }
    if (random() < 0.3) adapters.tell(slot, random() < 0.3 ? undefined : told, adapters.turn())
  }
}

/** Some pods have labels or a limit, and some have come in a former one's place. */
export function someFleet(pods: number, random: Random) {
  return Array.from({ length: pods }, (_, slot) => {
    const generation = random() < 0.1 ? 2 : 1
    return {
      ...pod(slot, generation === 1 ? `pod-${slot}` : `pod-${slot}-new`, generation),
      labels: random() < 0.5 ? { zone: `z${whole(random, 3)}` } : {},
      maxInflight: random() < 0.2 ? 1 + whole(random, 8) : 0,
    }
  })
}

export interface Sent {
  readonly record: DecisionRecord
  /** The line as it stands in the file. */
  readonly line: string
}

/** Decides with a trace, books as a router does, and reads back the line that this leaves. */
export function decideAndLog(worker: TestWorker, profile: CompiledProfile, random: Random): Sent {
  const headers = random() < 0.7 ? ['x-session-id', `user-${whole(random, 8)}@example.com`] : []
  const question = { role: 'user', content: `secret ${whole(random, 5)}` }
  const messages =
    random() < 0.5 ? [question] : [question, { role: 'assistant', content: 'answer' }, question]
  const ctx = worker.request({ messages }, headers)
  ctx.model = ['m', 'm-lora-a', 'm-lora-b'][whole(random, 3)] ?? 'm'
  const look = new CacheLook(worker.lane.state, new CacheAges(createCacheAges()))
  const trace = new Trace(worker.pods, undefined, { draws: new KeptDraws(), look, matchBytes: 1 << 20 })
  if (profile.prepare(ctx, trace) !== undefined) throw new Error('prepare gave a promise')
  profile.select(ctx, worker.pool, worker.ranking, trace)
  const [slot] = worker.picked()
  if (slot !== undefined) {
    const ref = worker.pods.bySlot(slot)?.ref ?? refOf(slot)
    const booked = worker.lane.native.book(ctx.ticket, ref, 0, profile.bookFlags, new Uint32Array(1))
    if (isPodRef(booked)) {
      profile.booked(ctx, slotOf(booked))
      worker.lane.native.release(booked, 0, 0, 0)
    }
  }
  const record = makeRecord(trace, {
    time: 1_700_000_000_000,
    head: ctx.request,
    stream: false,
    outcome: {
      pod: slot === undefined ? null : (worker.pods.bySlot(slot)?.id ?? null),
      status: 200,
      outcome: 'ok',
      error: null,
      attempts: 1,
      ttftMs: 12.5,
      durationMs: 20,
      bytes: 100,
      promptTokens: null,
      cachedTokens: null,
    },
  })
  worker.contexts.give(ctx)
  if (record === undefined) throw new Error('no record was made')
  const line = JSON.stringify(record)
  return { line, record: decisionRecord.parse(JSON.parse(line)) }
}
