/** Profiles made to run: `compileProfile` turns specs into functions once, so that a request only calls them. */
import { CacheSizes } from '../data/cache-sizes.js'
import { type Board, ownBoard } from '../data/fleet-board.js'
import { ownLatencyModel } from '../data/latency-model.js'
import type { LatencyWeights } from '../data/latency-weights.js'
import type { Pool } from '../data/pod-view.js'
import { checkProfile, type Suppliers } from './check.js'
import type { RoutingContext } from './context.js'
import { expectNothing, type PluginFailed, type SelectionOutcome } from './outcome.js'
import type { AnyExecuteSpec, AnySpec, BookedFn, PluginEnv } from './plugin.js'
import { type PoolLimits, Preparation } from './preparation.js'
import type { Profile } from './profile.js'
import type { Ranking } from './ranking.js'
import { plugins } from './registry.js'
import { Selection } from './selection.js'
import type { Trace } from './trace.js'

/** What a worker gives to compile with. */
export interface CompileEnv
  extends Omit<PluginEnv, 'profile' | 'onBooked' | 'latency' | 'caches' | 'board'>,
    PoolLimits {
  /** What all threads have learned of the pods' latency; a model of this profile's own unless given. */
  readonly latency?: LatencyWeights
  /** What plugins of all threads note of pods; a board of this profile's own unless given. */
  readonly board?: Board
  readonly caches?: CacheSizes
  /** Told of each failure of a plugin, for the log and the metrics. */
  readonly onPluginFailed?: PluginFailed
  /** Knows who could supply a missing slot; the built-in plugins and the registered ones unless given. */
  readonly registry?: Suppliers
}

/** Makes a profile ready to run on this thread. Throws where a slot is not supplied: on load, never on a request. */
export function compileProfile(profile: Profile, env: CompileEnv): CompiledProfile {
  const issues = checkProfile(profile, env.registry ?? plugins)
  if (issues.length > 0) {
    throw new Error(`profile '${profile.name}': ${issues.map(issue => issue.message).join('; ')}`)
  }
  return new CompiledProfile(profile, env)
}

export class CompiledProfile {
  readonly name: string
  /** What to do with the picked pod; the execution layer knows the workflow of that name. */
  readonly workflow: AnyExecuteSpec
  /** OPS bits of the fused native call. */
  readonly ops: number
  /** BOOK flags for booking a pod that this profile picked. */
  readonly bookFlags: number
  readonly #preparation: Preparation
  readonly #selection: Selection
  readonly #onFailed: PluginFailed
  readonly #listeners: BookedFn[] = []

  constructor(profile: Profile, given: CompileEnv) {
    const env: PluginEnv = {
      lane: given.lane,
      pods: given.pods,
      latency: given.latency ?? ownLatencyModel(() => given.now(), given.lane.width),
      caches: given.caches ?? new CacheSizes(given.lane, given.pods, () => given.now()),
      board: given.board ?? ownBoard(given.lane.width),
      now: () => given.now(),
      random: () => given.random(),
      profile: profile.name,
      onBooked: listener => this.#listeners.push(listener),
    }
    this.name = profile.name
    this.workflow = profile.execute
    this.bookFlags = specsOf(profile).reduce((bits, spec) => bits | spec.book, 0)
    this.#onFailed = given.onPluginFailed ?? (() => undefined)
    this.#preparation = new Preparation(profile.prepare, env, given, this.#onFailed)
    this.#selection = new Selection(profile, env, this.#onFailed)
    this.ops = this.#preparation.ops
  }

  /**
   * Finds out what the request's selections read: the fused native call, then TypeScript plugins in the profile's
   * order. A promise comes back only for a body on the thread pool or a plugin that returned one; the context must
   * not be given back before it settles. Throws (or rejects with) `template_error`, or `overloaded` where too much
   * waits for the thread pool, and what plugins throw for the client; any other error of theirs is told and passed over.
   */
  prepare(ctx: RoutingContext, trace?: Trace): void | Promise<void> {
    return this.#preparation.run(ctx, trace)
  }

  /**
   * Chooses among the pool's pods and writes the pick and its fall-backs to `ranking`. Allocates nothing unless traced.
   * Answers why the ranking is empty, where it is; `selectionError` makes the client's error of it.
   */
  select(ctx: RoutingContext, pool: Pool, ranking: Ranking, trace?: Trace): SelectionOutcome {
    return this.#selection.run(ctx, pool, ranking, trace)
  }

  /** To be called when a pod that this profile picked was booked: plugins that count bookings hear of it. */
  booked(ctx: RoutingContext, slot: number): void {
    for (const listener of this.#listeners) {
      try {
        expectNothing(listener(ctx, slot))
      } catch (error) {
        this.#onFailed(this.name, 'onBooked', error)
      }
    }
  }
}

function specsOf(profile: Profile): readonly AnySpec[] {
  return [...profile.prepare, ...profile.filter, ...profile.score, profile.pick, profile.execute]
}
