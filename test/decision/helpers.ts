/** What decision tests share: a fleet, a worker of it, requests to it. Lanes are made here and nowhere else. */
import { type BoardHandle, createBoard, FleetBoard } from '#phyllo/data/fleet-board.js'
import { LaneView } from '#phyllo/data/lane-view.js'
import { createLatencyMemory, type LatencyHandle, LatencyModel } from '#phyllo/data/latency-model.js'
import { FIELDS, type FieldName, isPodRef, slotOf } from '#phyllo/data/native.js'
import { type PodInfo, PodView, type Pool } from '#phyllo/data/pod-view.js'
import { createPrepareQueue, PrepareQueue } from '#phyllo/data/prepare-queue.js'
import { type CompiledProfile, type CompileEnv, compileProfile } from '#phyllo/decision/compile.js'
import { type RoutingContext, RoutingContexts } from '#phyllo/decision/context.js'
import { executor } from '#phyllo/decision/factories.js'
import { builtinPlugins } from '#phyllo/decision/plugins/index.js'
import type { Profile } from '#phyllo/decision/profile.js'
import { Ranking } from '#phyllo/decision/ranking.js'
import { PluginRegistry } from '#phyllo/decision/registry.js'
import { FakeFleet, FakeLane, fakeState, refOf } from './fake-addon.js'

/** A workflow of the tests' own: the real ones live in a higher layer. */
export const single = executor({ name: 'single', summary: 'Sends the request to the picked pod.' })

/** Built-in plugins and the tests' workflow, apart from the process's registry. */
export const testRegistry = (): PluginRegistry => new PluginRegistry([...builtinPlugins, single])

export const MODEL = 'm'

export function pod(slot: number, id = `pod-${slot}`, generation = 1): PodInfo {
  return {
    ref: refOf(slot, generation),
    id,
    origin: `http://${id}`,
    basePath: '',
    models: [MODEL],
    labels: {},
    maxInflight: 0,
    rank: undefined,
  }
}

/** The numbers 0 ≤ x < 1 of a small generator (mulberry32), so that a failure can be seen again. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Memory that the workers of a fleet have in common. */
export interface SharedMemory {
  readonly board: BoardHandle
  readonly latency: LatencyHandle
}

/** One worker thread's part of a fleet. */
export class TestWorker {
  readonly lane: LaneView
  readonly pods = new PodView()
  readonly contexts: RoutingContexts
  readonly ranking = new Ranking()
  readonly env: CompileEnv
  readonly latency: LatencyModel
  readonly board: FleetBoard
  #version = 0

  constructor(
    readonly fleet: FakeFleet,
    pods: readonly PodInfo[],
    seed = 1,
    shared: SharedMemory = sharedMemory(fleet.width, 1),
    /** Its row in the memory that is shared. */
    row = 0,
  ) {
    this.lane = new LaneView(fleet.addon(), fakeState(fleet.width, fleet))
    this.contexts = new RoutingContexts(this.lane)
    this.update(pods)
    this.latency = new LatencyModel(shared.latency, row, () => fleet.now)
    this.board = new FleetBoard(shared.board)
    this.env = {
      lane: this.lane,
      pods: this.pods,
      now: () => fleet.now,
      random: seeded(seed),
      board: this.board,
      latency: this.latency,
      asyncPrepareBytes: 1 << 20,
      prepareQueue: new PrepareQueue(createPrepareQueue(1, 1 << 20, 4), 0),
      registry: testRegistry(),
    }
  }

  /** Native calls of that name so far. */
  calls(name: string): number {
    const { native } = this.lane
    return native instanceof FakeLane ? (native.calls.get(name) ?? 0) : Number.NaN
  }

  /** Tickets not dropped. */
  get tickets(): number {
    const { native } = this.lane
    return native instanceof FakeLane ? native.tickets : Number.NaN
  }

  renumberTickets(): void {
    const { native } = this.lane
    if (native instanceof FakeLane) native.renumber()
  }

  update(pods: readonly PodInfo[]): void {
    this.pods.update(++this.#version, pods)
  }

  get pool(): Pool {
    return this.pods.all
  }

  compile(profile: Profile, more: Partial<CompileEnv> = {}): CompiledProfile {
    return compileProfile(profile, { ...this.env, ...more })
  }

  /** A context that holds a body and headers, with the fields found as `scan` finds them. */
  request(fields: Partial<Record<FieldName, unknown>> = {}, headers: readonly string[] = []): RoutingContext {
    const ctx = this.contexts.take()
    ctx.request = { id: 'r', method: 'POST', path: '/v1/chat/completions', query: '', headers, kind: 'chat' }
    ctx.model = MODEL
    ctx.modelId = 0
    ctx.fields.fill(0)
    let text = '{'
    for (const [index, name] of FIELDS.entries()) {
      const value = fields[name]
      if (value === undefined) continue
      text += `${text === '{' ? '' : ','}${JSON.stringify(name)}:`
      const json = JSON.stringify(value)
      ctx.fields[index * 2] = Buffer.byteLength(text)
      ctx.fields[index * 2 + 1] = Buffer.byteLength(json)
      text += json
    }
    ctx.body = Buffer.from(`${text}}`)
    return ctx
  }

  /** Prepares (synchronously), selects, and answers the slots in order. */
  route(profile: CompiledProfile, ctx: RoutingContext, pool: Pool = this.pool): number[] {
    if (profile.prepare(ctx) !== undefined) throw new Error('prepare gave a promise')
    profile.select(ctx, pool, this.ranking)
    return this.picked()
  }

  picked(): number[] {
    return [...this.ranking.slots.subarray(0, this.ranking.length)]
  }

  /** Prepares, selects and books as the executor does; answers the slot, and a function that ends the request. */
  serve(profile: CompiledProfile, ctx: RoutingContext): { slot: number; end: () => void } {
    const out = new Uint32Array(1)
    for (const slot of this.route(profile, ctx)) {
      const ref = this.pods.bySlot(slot)?.ref ?? refOf(slot)
      const code = this.lane.native.book(ctx.ticket, ref, ctx.bound, profile.bookFlags, out)
      if (isPodRef(code)) {
        profile.booked(ctx, slotOf(code))
        const end = () => {
          this.lane.native.release(code, 0, 0, 0)
          this.contexts.give(ctx)
        }
        return { slot: slotOf(code), end }
      }
    }
    throw new Error('no pod could be booked')
  }
}

/** For as many workers as will share it. */
export const sharedMemory = (width: number, workers: number): SharedMemory => ({
  board: createBoard(width),
  latency: createLatencyMemory(width, workers),
})

interface TestFleet {
  readonly fleet: FakeFleet
  readonly workers: readonly TestWorker[]
  /** The first of them. */
  readonly worker: TestWorker
}

/** A fleet of so many pods with so many workers that share it. */
export function fleetOf(pods: number, workers = 1): TestFleet {
  const fleet = new FakeFleet(pods <= 64 ? 64 : pods <= 256 ? 256 : 1024)
  const infos = Array.from({ length: pods }, (_, slot) => pod(slot))
  const shared = sharedMemory(fleet.width, workers)
  const all = Array.from({ length: workers }, (_, i) => new TestWorker(fleet, infos, i + 1, shared, i))
  const [worker] = all
  if (worker === undefined) throw new Error('a fleet has a worker')
  return { fleet, workers: all, worker }
}
