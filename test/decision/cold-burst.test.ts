/**
 * A cold burst on the real addon: requests that share a beginning come before the first answer. Load counts from the
 * decision on, and so does the prefix on its way; each worker has a lane of its own on one state.
 */
import test from 'ava'
import { LaneView } from '#phyllo/data/lane-view.js'
import { BODY_KINDS, isPodRef, loadNative, slotOf } from '#phyllo/data/native.js'
import { PodView } from '#phyllo/data/pod-view.js'
import { createPrepareQueue, PrepareQueue } from '#phyllo/data/prepare-queue.js'
import { compileProfile } from '#phyllo/decision/compile.js'
import { RoutingContexts } from '#phyllo/decision/context.js'
import type { Profile } from '#phyllo/decision/profile.js'
import { cacheAware } from '#phyllo/decision/profiles/index.js'
import { Ranking } from '#phyllo/decision/ranking.js'
import { STATE_OPTIONS } from '../data/state-options.js'
import { MODEL, seeded, single } from './helpers.js'

let states = 0

/** A fleet that answers nothing: everything that comes stays booked. */
function silentFleet(profile: Profile, count: number, workers: number) {
  const addon = loadNative()
  const name = `burst-${states++}`
  const state = addon.SharedState.open(name, { ...STATE_OPTIONS, slowStartMs: 0 })
  const model = state.addModel(MODEL, { blockSize: 16 })
  const refs = Array.from({ length: count }, (_, i) => state.addPod(`pod-${i}`))
  for (const ref of refs) state.activatePod(ref)
  const pods = new PodView()
  const traits = { origin: '', basePath: '', models: [MODEL], labels: {}, maxInflight: 0, rank: undefined }
  pods.update(
    1,
    refs.map((ref, i) => ({ ref, id: `pod-${i}`, ...traits })),
  )
  const random = seeded(5)
  const crew = Array.from({ length: workers }, () => {
    const lane = new LaneView(addon, state)
    const env = {
      lane,
      pods,
      now: () => state.now(),
      random,
      asyncPrepareBytes: 1 << 20,
      prepareQueue: new PrepareQueue(createPrepareQueue(1, 1 << 20, 4), 0),
    }
    return { lane, contexts: new RoutingContexts(lane), compiled: compileProfile(profile, env) }
  })
  const ranking = new Ranking()
  const out = new Uint32Array(1)

  /** Decides and books; answers the slot. */
  const send = (system: string, text: string, worker: number): number => {
    const by = crew[worker % crew.length]
    if (by === undefined) throw new Error('there is a worker')
    const ctx = by.contexts.take()
    const messages = [
      { role: 'system', content: system },
      { role: 'user', content: text },
    ]
    ctx.request = {
      id: 'r',
      method: 'POST',
      path: '/v1/chat/completions',
      query: '',
      headers: [],
      kind: 'chat',
    }
    ctx.model = MODEL
    ctx.modelId = model
    ctx.body = Buffer.from(JSON.stringify({ model: MODEL, messages }))
    if (by.lane.native.scan(ctx.body, BODY_KINDS.chat, ctx.fields) !== 0) throw new Error('a good body')
    if (by.compiled.prepare(ctx) !== undefined) throw new Error('a promise for a body below the limit')
    by.compiled.select(ctx, pods.all, ranking)
    const ref = pods.bySlot(ranking.slots[0] ?? 0)?.ref ?? -1
    const code = by.lane.native.book(ctx.ticket, ref, ctx.bound, by.compiled.bookFlags, out)
    if (!isPodRef(code)) throw new Error('it was booked')
    by.contexts.give(ctx)
    return slotOf(code)
  }
  /** Tokens that wait, by pod. */
  const queued = (): number[] => {
    const [any] = crew
    if (any === undefined) return []
    any.lane.beginSelection()
    return refs.map(ref => any.lane.pendingTokens[slotOf(ref)] ?? Number.NaN)
  }
  return { send, queued, close: () => addon.SharedState.close(name) }
}

/** Tokens of a request's own text, about: what is cached is counted in whole blocks. */
const ROUNDING = 60

const words = (count: number, seed: number): string => {
  const random = seeded(seed)
  return Array.from({ length: count }, () => `w${Math.floor(random() * 90_000)}`).join(' ')
}
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0)
const used = (values: readonly number[]): number => values.filter(value => value > 0).length

for (const workers of [1, 3]) {
  for (const pods of [2, 4, 16] as const) {
    const where = `${pods} pods, ${workers} worker${workers > 1 ? 's' : ''}`
    for (const asked of [5, 40, 200]) {
      test(`32 first requests with one system prompt of 300 words and ${asked} of their own (${where})`, t => {
        const fleet = silentFleet(cacheAware(single()), pods, workers)
        t.teardown(fleet.close)
        const system = words(300, 1)
        for (let i = 0; i < 32; i++) fleet.send(system, words(asked, 100 + i), i)
        const queued = fleet.queued()
        t.true(Math.max(...queued) <= 1.5 * (sum(queued) / pods), String(queued))
      })
    }

    test(`a long prefix is computed on as few pods as the cost says (${where})`, t => {
      const fleet = silentFleet(cacheAware(single()), pods, workers)
      t.teardown(fleet.close)
      const system = words(12_000, 2)
      const counts = new Array<number>(pods).fill(0)
      let prompt = 0
      for (let i = 0; i < 32; i++) {
        const before = fleet.queued()
        const slot = fleet.send(system, words(20, 100 + i), i)
        const own = (fleet.queued()[slot] ?? 0) - (before[slot] ?? 0)
        prompt ||= own
        // The formula of prefill-time, for all pods: with the prefix on its way a pod has but the rest to compute.
        const factor = 1.1 + sum(before) / pods / 16_000
        const rest = (counts[slot] ?? 0) > 0 ? own : ROUNDING
        const costs = before.map((queued, pod) => {
          const requests = counts[pod] ?? 0
          const tokens = requests > 0 ? rest : prompt
          return (queued + 128 * requests + Math.min(3, factor) * tokens) * (1 + 0.05 * requests)
        })
        t.true((costs[slot] ?? 0) <= Math.min(...costs) + 2 * ROUNDING, `${i}: ${slot} of ${costs}`)
        counts[slot] = (counts[slot] ?? 0) + 1
      }
      t.is(used(fleet.queued()), { 2: 2, 4: 3, 16: 4 }[pods])
    })

    test(`20 conversations with one system prompt do not meet on one pod (${where})`, t => {
      const fleet = silentFleet(cacheAware(single()), pods, workers)
      t.teardown(fleet.close)
      const system = words(300, 3)
      const counts = new Array<number>(pods).fill(0)
      for (let i = 0; i < 20; i++) {
        const slot = fleet.send(system, words(30, 200 + i), i)
        counts[slot] = (counts[slot] ?? 0) + 1
      }
      t.true(Math.max(...counts) <= Math.ceil((20 / pods) * 1.5), String(counts))
    })
  }
}
