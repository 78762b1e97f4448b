/** Records one selection while it runs. */
import type { CacheLook } from '../data/cache-ages.js'
import { type CacheHint, cacheHintOf } from '../data/cache-hint.js'
import { isPodRef } from '../data/native.js'
import type { PodView, Pool } from '../data/pod-view.js'
import type { RoutingContext } from './context.js'
import type { Draws } from './draws.js'
import type { SelectionOutcome } from './outcome.js'
import type { PluginEnv, WhyDropped } from './plugin.js'
import { type PodState, podState } from './pod-state.js'
import type { Ranking } from './ranking.js'

/** Numbers by pod id. */
export type ByPod = Record<string, number>

/** One selection. Pods are named by id. Times in µs. */
export interface SelectionRecord {
  /** The step of a workflow of several that it is for. */
  step?: string
  /** Whose filters, scorers and picker these are. */
  profile: string
  candidates: string[]
  /** The candidates as the decision saw them, in the same order. */
  pods: PodState[]
  /** `reasons`: why, for each pod dropped. */
  filters: { plugin: string; dropped: string[]; reasons: Record<string, string>; micros: number }[]
  /**
   * `raw` is what the scorer gave, held to 0..1, or the cost; `weighted` is what it added to the total. The weight of a
   * cost is negative here.
   */
  scores: { plugin: string; weight: number; raw: ByPod; weighted: ByPod; micros: number }[]
  totals: ByPod
  /** What the candidates' caches hold of the prompt; null where the profile matches no prefixes. */
  cache: CacheRecord | null
  /** Where the session lives; null: nowhere. Undefined where the profile does not ask. */
  sessionPod?: string | null
  /** Most requests in flight that booking will allow on the pod; 0: no bound. */
  bound: number
  pick: { plugin: string; micros: number } | null
  /** The pod picked and its fall-backs, best first. */
  ranking: string[]
  outcome: SelectionOutcome
  micros: number
}

export interface CacheRecord {
  /** Cached prompt tokens as scorers see them: those in slower tiers than the GPU count for what they are worth. */
  tokens: ByPod
  /** Where they are, and how that is known: `exact`, `stale` (exact but for lost events) or `predicted`. */
  hints: Record<string, CacheHint>
}

/** What a selection's record is made with. */
export interface TraceMeans {
  readonly pods: PodView
  /** Monotonic µs. */
  readonly micros: () => number
  readonly look: CacheLook | undefined
  readonly draws: Draws | undefined
  /** The step that is selected for; empty where there is but one. */
  readonly step: () => string
}

/** What the profile reads of a request, and so is part of its record. */
export interface ReadByProfile {
  /** It matches prefixes. */
  readonly caches: boolean
  readonly sessionPod: boolean
}

export class SelectionTrace {
  readonly #record: SelectionRecord
  readonly #means: TraceMeans
  readonly #began: number
  #started = 0

  constructor(
    records: SelectionRecord[],
    means: TraceMeans,
    env: PluginEnv,
    ctx: RoutingContext,
    pool: Pool,
    reads: ReadByProfile,
  ) {
    this.#means = means
    const slots = slotsOf(pool)
    this.#record = {
      ...(means.step() === '' ? {} : { step: means.step() }),
      profile: env.profile,
      candidates: this.#ids(pool.slots, pool.length),
      pods: slots.map(slot => podState(env, means, slot, ctx.model)),
      filters: [],
      scores: [],
      totals: {},
      cache: reads.caches ? this.#caches(ctx, pool) : null,
      bound: 0,
      pick: null,
      ranking: [],
      outcome: 'no_pod',
      micros: 0,
    }
    if (reads.sessionPod) this.#record.sessionPod = this.#sessionPod(ctx)
    records.push(this.#record)
    // What was recorded up to here is no part of what the decision took.
    this.#began = means.micros()
  }

  /** Chance and turns that the selection is to use; undefined: its own. */
  get draws(): Draws | undefined {
    return this.#means.draws
  }

  start(): void {
    this.#started = this.#means.micros()
  }

  filtered(plugin: string, pods: Pool, keep: Uint8Array, why: WhyDropped, bound: number): void {
    const micros = tenths(this.#means.micros() - this.#started)
    const dropped = this.#ids(pods.slots, pods.length).filter((_, i) => keep[i] === 0)
    const reasons = dropped.length === 0 ? {} : this.#reasons(dropped, why, bound)
    this.#record.filters.push({ plugin, dropped, reasons, micros })
  }

  #reasons(dropped: readonly string[], why: WhyDropped, bound: number): Record<string, string> {
    const gone = new Set(dropped)
    const states = this.#record.pods.filter(({ id }) => gone.has(id))
    return Object.fromEntries(states.map(state => [state.id, why(state, bound)]))
  }

  scored(plugin: string, weight: number, pods: Pool, scores: Float64Array): void {
    const micros = tenths(this.#means.micros() - this.#started)
    const raw = this.#byPod(pods, i => scores[i] ?? 0)
    const weighted = this.#byPod(pods, i => (scores[i] ?? 0) * weight)
    this.#record.scores.push({ plugin, weight, raw, weighted, micros })
  }

  picked(plugin: string, pods: Pool, totals: Float64Array): void {
    this.#record.pick = { plugin, micros: tenths(this.#means.micros() - this.#started) }
    this.#record.totals = this.#byPod(pods, i => totals[i] ?? 0)
  }

  end(ranking: Ranking, bound: number, outcome: SelectionOutcome): void {
    this.#record.ranking = this.#ids(ranking.slots, ranking.length)
    this.#record.bound = bound
    this.#record.outcome = outcome
    this.#record.micros = tenths(this.#means.micros() - this.#began)
  }

  /** A native call a pod, which only an explanation is worth. */
  #caches({ lane, ticket }: RoutingContext, pool: Pool): CacheRecord {
    const cached = lane.cachedTokens(ticket)
    const hints: Record<string, CacheHint> = {}
    for (const slot of slotsOf(pool)) {
      const pod = this.#means.pods.bySlot(slot)
      const hint = pod && cacheHintOf(lane.native, ticket, pod.ref)
      if (pod !== undefined && hint !== undefined) hints[pod.id] = hint
    }
    return { tokens: this.#byPod(pool, i => cached[pool.slots[i] ?? 0] ?? 0), hints }
  }

  #sessionPod({ lane, ticket }: RoutingContext): string | null {
    const ref = lane.native.sessionPod(ticket)
    return (isPodRef(ref) ? this.#means.pods.byRef(ref)?.id : undefined) ?? null
  }

  #ids(slots: Uint16Array, length: number): string[] {
    return Array.from(slots.subarray(0, length), slot => this.#id(slot))
  }

  #byPod(pods: Pool, value: (i: number) => number): ByPod {
    const values: ByPod = {}
    for (let i = 0; i < pods.length; i++) values[this.#id(pods.slots[i] ?? 0)] = value(i)
    return values
  }

  /** A pod that left between the pool's making and now has no id any more. */
  #id(slot: number): string {
    return this.#means.pods.bySlot(slot)?.id ?? `(slot ${slot})`
  }
}

const slotsOf = (pods: Pool): number[] => [...pods.slots.subarray(0, pods.length)]

/** A tenth of a µs is what the clock resolves. */
export const tenths = (micros: number): number => Math.round(micros * 10) / 10
