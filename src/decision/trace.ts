/**
 * The explanation of a decision. Recording it is the only part of a selection that allocates, and happens only where
 * one was asked for (`POST /explain`, sampled decision records).
 */
import { type CacheHint, cacheHintOf } from '../data/cache-hint.js'
import { SUMMARY, SUMMARY_WORDS } from '../data/native.js'
import type { PodView, Pool } from '../data/pod-view.js'
import type { RoutingContext } from './context.js'
import type { SelectionOutcome } from './outcome.js'
import type { Ranking } from './ranking.js'

/** Numbers by pod id. */
export type ByPod = Record<string, number>

/** What Prepare found. Times in µs. */
export interface PrepareRecord {
  /** `exact`: the model's own tokens; otherwise an estimate (bytes / 4). */
  prompt: { tokens: number; exact: boolean; blocks: number; blockSize: number }
  /** Within the fused native call. */
  native: { tokenizeMicros: number; hashMicros: number; matchMicros: number }
  plugins: { plugin: string; micros: number }[]
  micros: number
}

/** One selection. Pods are named by id. Times in µs. */
export interface SelectionRecord {
  candidates: string[]
  filters: { plugin: string; dropped: string[]; micros: number }[]
  /**
   * `raw` is what the scorer gave, held to 0..1, or the cost; `weighted` is what it added to the total. The weight of a
   * cost is negative here.
   */
  scores: { plugin: string; weight: number; raw: ByPod; weighted: ByPod; micros: number }[]
  totals: ByPod
  /** What the candidates' caches hold of the prompt; null where the profile matches no prefixes. */
  cache: CacheRecord | null
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

const noPrepare: PrepareRecord = {
  prompt: { tokens: 0, exact: false, blocks: 0, blockSize: 0 },
  native: { tokenizeMicros: 0, hashMicros: 0, matchMicros: 0 },
  plugins: [],
  micros: 0,
}

/** Everything one request's decisions are made of: Prepare once, then each selection (a retry selects again). */
export class Trace {
  profile = ''
  prepare: PrepareRecord = noPrepare
  readonly selections: SelectionRecord[] = []

  readonly #pods: PodView
  readonly #micros: () => number
  #began = 0
  #started = 0
  #plugins: { plugin: string; micros: number }[] = []

  /** `micros` is the clock; the process's monotonic one unless a test or a simulation gives its own. */
  constructor(pods: PodView, micros: () => number = () => performance.now() * 1000) {
    this.#pods = pods
    this.#micros = micros
  }

  beginPrepare(profile: string): void {
    this.profile = profile
    this.#plugins = []
    this.#began = this.#micros()
  }

  /** A plugin starts; the next record of one takes the time from here. */
  start(): void {
    this.#started = this.#micros()
  }

  prepared(plugin: string): void {
    this.#plugins.push({ plugin, micros: this.#since(this.#started) })
  }

  endPrepare(ctx: RoutingContext): void {
    const words = new Uint32Array(SUMMARY_WORDS)
    ctx.lane.native.summary(ctx.ticket, words)
    const word = (index: number): number => words[index] ?? 0
    this.prepare = {
      prompt: {
        tokens: word(SUMMARY.promptTokens),
        exact: word(SUMMARY.exact) === 1,
        blocks: word(SUMMARY.blocks),
        blockSize: word(SUMMARY.blockSize),
      },
      native: {
        tokenizeMicros: word(SUMMARY.tokenizeMicros),
        hashMicros: word(SUMMARY.hashMicros),
        matchMicros: word(SUMMARY.matchMicros),
      },
      plugins: this.#plugins,
      micros: this.#since(this.#began),
    }
  }

  /** `caches`: the profile matches prefixes, so that what the pods have cached is part of the decision. */
  beginSelection(profile: string, ctx: RoutingContext, pool: Pool, caches: boolean): SelectionTrace {
    this.profile = profile
    return new SelectionTrace(this.selections, this.#pods, this.#micros, pool, caches ? ctx : undefined)
  }

  #since(start: number): number {
    return tenths(this.#micros() - start)
  }

  toJSON(): { profile: string; prepare: PrepareRecord; selections: readonly SelectionRecord[] } {
    return { profile: this.profile, prepare: this.prepare, selections: this.selections }
  }
}

/** Records one selection while it runs. */
export class SelectionTrace {
  readonly #record: SelectionRecord
  readonly #began: number
  #started = 0

  constructor(
    records: SelectionRecord[],
    private readonly pods: PodView,
    private readonly micros: () => number,
    pool: Pool,
    cached: RoutingContext | undefined,
  ) {
    this.#began = micros()
    this.#record = {
      candidates: this.#ids(pool.slots, pool.length),
      filters: [],
      scores: [],
      totals: {},
      cache: cached === undefined ? null : this.#caches(cached, pool),
      bound: 0,
      pick: null,
      ranking: [],
      outcome: 'no_pod',
      micros: 0,
    }
    records.push(this.#record)
  }

  start(): void {
    this.#started = this.micros()
  }

  filtered(plugin: string, pods: Pool, keep: Uint8Array): void {
    const micros = tenths(this.micros() - this.#started)
    const dropped = this.#ids(pods.slots, pods.length).filter((_, i) => keep[i] === 0)
    this.#record.filters.push({ plugin, dropped, micros })
  }

  scored(plugin: string, weight: number, pods: Pool, scores: Float64Array): void {
    const micros = tenths(this.micros() - this.#started)
    const raw = this.#byPod(pods, i => scores[i] ?? 0)
    const weighted = this.#byPod(pods, i => (scores[i] ?? 0) * weight)
    this.#record.scores.push({ plugin, weight, raw, weighted, micros })
  }

  picked(plugin: string, pods: Pool, totals: Float64Array): void {
    this.#record.pick = { plugin, micros: tenths(this.micros() - this.#started) }
    this.#record.totals = this.#byPod(pods, i => totals[i] ?? 0)
  }

  end(ranking: Ranking, bound: number, outcome: SelectionOutcome): void {
    this.#record.ranking = this.#ids(ranking.slots, ranking.length)
    this.#record.bound = bound
    this.#record.outcome = outcome
    this.#record.micros = tenths(this.micros() - this.#began)
  }

  /** A native call a pod, which only an explanation is worth. */
  #caches({ lane, ticket }: RoutingContext, pool: Pool): CacheRecord {
    const cached = lane.cachedTokens(ticket)
    const hints: Record<string, CacheHint> = {}
    for (const slot of this.#slots(pool)) {
      const pod = this.pods.bySlot(slot)
      const hint = pod && cacheHintOf(lane.native, ticket, pod.ref)
      if (pod !== undefined && hint !== undefined) hints[pod.id] = hint
    }
    return { tokens: this.#byPod(pool, i => cached[pool.slots[i] ?? 0] ?? 0), hints }
  }

  #ids(slots: Uint16Array, length: number): string[] {
    return Array.from(slots.subarray(0, length), slot => this.#id(slot))
  }

  #byPod(pods: Pool, value: (i: number) => number): ByPod {
    return Object.fromEntries(this.#slots(pods).map((slot, i) => [this.#id(slot), value(i)]))
  }

  #slots(pods: Pool): number[] {
    return [...pods.slots.subarray(0, pods.length)]
  }

  /** A pod that left between the pool's making and now has no id any more. */
  #id(slot: number): string {
    return this.pods.bySlot(slot)?.id ?? `(slot ${slot})`
  }
}

/** A tenth of a µs is what the clock resolves. */
const tenths = (micros: number): number => Math.round(micros * 10) / 10
