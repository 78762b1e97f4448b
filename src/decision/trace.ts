/**
 * The explanation of a decision. Recording it is the only part of a selection that allocates, and happens only where
 * one was asked for (`POST /explain`, the sampled decision log, a replay of that).
 */
import type { CacheLook } from '../data/cache-ages.js'
import { NO_TICKET, OPS, SUMMARY, SUMMARY_WORDS } from '../data/native.js'
import type { PodView, Pool } from '../data/pod-view.js'
import type { RoutingContext } from './context.js'
import type { DrawList, Draws } from './draws.js'
import type { PluginEnv } from './plugin.js'
import { type RequestKeys, requestKeys } from './request-keys.js'
import {
  type ReadByProfile,
  type SelectionRecord,
  SelectionTrace,
  type TraceMeans,
  tenths,
} from './selection-trace.js'
import { type PromptRecord, promptRecord, type WholeMatch, wholeMatch } from './whole-match.js'

export type { ByPod, CacheRecord, SelectionRecord } from './selection-trace.js'
export type { PromptRecord } from './whole-match.js'

/** What Prepare found. Times in µs. */
export interface PrepareRecord {
  prompt: PromptRecord
  /** Within the fused native call. */
  native: { tokenizeMicros: number; hashMicros: number; matchMicros: number }
  plugins: { plugin: string; micros: number }[]
  micros: number
}

/** A workflow taken, and why in a few words. */
export interface WayRecord {
  readonly workflow: string
  readonly why: string
}

/** What the stages took, over all selections. In µs. */
export interface Timings {
  prepare: number
  tokenize: number
  hash: number
  match: number
  filter: number
  score: number
  pick: number
}

export interface TraceOptions {
  /** Chance and turns of its selections; absent: their own, and nobody notes them. */
  readonly draws?: Draws & Partial<DrawList>
  /** Looks at pods' caches as a whole; absent: nobody does. */
  readonly look?: CacheLook
  /** Bodies up to so many bytes are matched even where the profile does not ask; absent: none. */
  readonly matchBytes?: number
}

const noPrepare: PrepareRecord = {
  prompt: { tokens: 0, exact: false, blocks: 0, blockSize: 0, shape: '' },
  native: { tokenizeMicros: 0, hashMicros: 0, matchMicros: 0 },
  plugins: [],
  micros: 0,
}

/** Everything one request's decisions are made of: Prepare once, then each selection (a retry selects again). */
export class Trace {
  profile = ''
  /** The step whose pod is selected next, in a workflow of several. */
  step = ''
  model = ''
  prepare: PrepareRecord = noPrepare
  keys: RequestKeys | undefined
  /** The request goes on with a conversation. */
  isFollowUp = false
  /** What pods hold of the prompt, where the profile itself did not ask. */
  match: WholeMatch | undefined
  readonly selections: SelectionRecord[] = []
  /** Ways that a workflow chose, and why; none for one that has no choice. */
  readonly ways: WayRecord[] = []

  readonly #means: TraceMeans
  readonly #options: TraceOptions
  readonly #micros: () => number
  #began = 0
  #started = 0
  #plugins: { plugin: string; micros: number }[] = []

  /** `micros` is the clock; the process's monotonic one unless a test or a simulation gives its own. */
  constructor(
    pods: PodView,
    micros: () => number = () => performance.now() * 1000,
    options: TraceOptions = {},
  ) {
    this.#micros = micros
    this.#options = options
    this.#means = { pods, micros, look: options.look, draws: options.draws, step: () => this.step }
  }

  /** What its selections drew, where that was kept. */
  get drawn(): DrawList {
    const { rolls = [], turns = [] } = this.#options.draws ?? {}
    return { rolls, turns }
  }

  beginPrepare(profile: string): void {
    this.profile = profile
    this.#plugins = []
    this.#began = this.#micros()
  }

  /** The request goes by that workflow. */
  took(workflow: string, why: string): void {
    this.ways.push({ workflow, why })
  }

  /** A plugin starts; the next record of one takes the time from here. */
  start(): void {
    this.#started = this.#micros()
  }

  prepared(plugin: string): void {
    this.#plugins.push({ plugin, micros: this.#since(this.#started) })
  }

  /** `ops`: the native steps that the profile took. */
  endPrepare(ctx: RoutingContext, env: PluginEnv, ops: number): void {
    const micros = this.#since(this.#began)
    const { native } = ctx.lane
    const words = new Uint32Array(SUMMARY_WORDS)
    native.summary(ctx.ticket, words)
    const word = (index: number): number => words[index] ?? 0
    const { matchBytes = -1 } = this.#options
    if ((ops & OPS.matchPrefix) === 0 && ctx.body.length <= matchBytes) this.match = wholeMatch(ctx)
    const isTokenized = ctx.ticket !== NO_TICKET && (ops & OPS.tokenize) !== 0
    this.model = ctx.model
    this.keys = requestKeys(ctx, env)
    this.isFollowUp = ctx.isFollowUp()
    this.prepare = {
      prompt: isTokenized || this.match === undefined ? promptRecord(native, ctx.ticket) : this.match.prompt,
      native: {
        tokenizeMicros: word(SUMMARY.tokenizeMicros),
        hashMicros: word(SUMMARY.hashMicros),
        matchMicros: word(SUMMARY.matchMicros),
      },
      plugins: this.#plugins,
      micros,
    }
  }

  beginSelection(env: PluginEnv, ctx: RoutingContext, pool: Pool, reads: ReadByProfile): SelectionTrace {
    // What is written down is what the decision reads, so neither may be of a while ago.
    env.latency.expire()
    env.caches.expire()
    return new SelectionTrace(this.selections, this.#means, env, ctx, pool, reads)
  }

  get timings(): Timings {
    const { micros, native } = this.prepare
    const sum = (times: (selection: SelectionRecord) => number[]): number =>
      tenths(this.selections.flatMap(times).reduce((total, time) => total + time, 0))
    return {
      prepare: micros,
      tokenize: native.tokenizeMicros,
      hash: native.hashMicros,
      match: native.matchMicros,
      filter: sum(({ filters }) => filters.map(filter => filter.micros)),
      score: sum(({ scores }) => scores.map(score => score.micros)),
      pick: sum(({ pick }) => [pick?.micros ?? 0]),
    }
  }

  #since(start: number): number {
    return tenths(this.#micros() - start)
  }

  toJSON() {
    const { profile, model, prepare, keys, isFollowUp: followUp, ways, selections, timings } = this
    const taken = ways.length === 0 ? {} : { ways }
    return { profile, model, prepare, keys: keys ?? null, followUp, ...taken, selections, timings }
  }
}
