/** Run by native.test.ts: decides and books as the executor does, on the real addon, in a worker thread. */
import { parentPort, workerData } from 'node:worker_threads'
import { z } from 'zod'
import { LaneView } from '#phyllo/data/lane-view.js'
import { BODY_KINDS, isPodRef, loadNative, slotOf } from '#phyllo/data/native.js'
import { PodView } from '#phyllo/data/pod-view.js'
import { createPrepareQueue, PrepareQueue } from '#phyllo/data/prepare-queue.js'
import { compileProfile } from '#phyllo/decision/compile.js'
import { RoutingContexts } from '#phyllo/decision/context.js'
import { shippedProfiles } from '#phyllo/decision/profiles/index.js'
import { Ranking } from '#phyllo/decision/ranking.js'
import { MODEL, single } from './helpers.js'

/** What a thread is told to do; it answers with the slot of each request, -1 where none could be booked. */
export const orders = z.object({
  state: z.string(),
  profile: z.string(),
  model: z.int(),
  refs: z.array(z.int().refine(isPodRef)),
  /** The `user` of each request. */
  users: z.array(z.string()),
  /** End each request at once, or leave all in flight. */
  release: z.boolean(),
})
export type Orders = z.input<typeof orders>

const { state: name, profile: wanted, model, refs, users, release } = orders.parse(workerData)
const addon = loadNative()
const state = addon.SharedState.open(name)
const lane = new LaneView(addon, state)
const pods = new PodView()
pods.update(
  1,
  refs.map((ref, i) => ({
    ref,
    id: `pod-${i}`,
    origin: '',
    basePath: '',
    models: [MODEL],
    labels: {},
    maxInflight: 0,
    rank: undefined,
  })),
)
const contexts = new RoutingContexts(lane)
const ranking = new Ranking()
const booked = new Uint32Array(1)
const [profile] = shippedProfiles(single()).filter(each => each.name === wanted)
if (profile === undefined) throw new Error(`no profile '${wanted}'`)
const compiled = compileProfile(profile, {
  lane,
  pods,
  now: () => state.now(),
  random: Math.random,
  asyncPrepareBytes: 1 << 20,
  prepareQueue: new PrepareQueue(createPrepareQueue(1, 1 << 20, 4), 0),
})

function serve(user: string): number {
  const ctx = contexts.take()
  ctx.request = {
    id: 'r',
    method: 'POST',
    path: '/v1/completions',
    query: '',
    headers: [],
    kind: 'completions',
  }
  ctx.model = MODEL
  ctx.modelId = model
  ctx.body = Buffer.from(JSON.stringify({ model: MODEL, prompt: `${user} said: `.repeat(40), user }))
  if (lane.native.scan(ctx.body, BODY_KINDS.completions, ctx.fields) !== 0) throw new Error('a good body')
  if (compiled.prepare(ctx) !== undefined) throw new Error('a short body gives no promise')
  const slot = select()
  contexts.give(ctx)
  return slot

  function select(): number {
    // A refusal means that another thread was faster; a fresh look settles it.
    for (let round = 0; round < 100; round++) {
      compiled.select(ctx, pods.all, ranking)
      for (let i = 0; i < ranking.length; i++) {
        const ref = pods.bySlot(ranking.slots[i] ?? 0)?.ref ?? -1
        const code = lane.native.book(ctx.ticket, ref, ctx.bound, compiled.bookFlags, booked)
        if (!isPodRef(code)) continue
        compiled.booked(ctx, slotOf(code))
        if (release) lane.native.release(code, booked[0] ?? 0, booked[1] ?? 0, 0)
        return slotOf(code)
      }
    }
    return -1
  }
}

parentPort?.postMessage(users.map(serve))
