/**
 * What a plugin is. `nativeStep`, `preparer`, `filter`, `scorer`, `picker` and `executor` (factories.ts) each make a
 * *factory* from a definition; calling the factory with options gives a *spec*, which is data: a profile is a list of
 * specs. A worker turns specs into running functions with `create`, once, when the profile is compiled.
 */
import type { z } from 'zod'
import type { CacheSizes } from '../data/cache-sizes.js'
import type { Board } from '../data/fleet-board.js'
import type { LaneView } from '../data/lane-view.js'
import type { LatencyWeights } from '../data/latency-weights.js'
import type { PodView, Pool } from '../data/pod-view.js'
import type { RoutingContext } from './context.js'
import type { PodState } from './pod-state.js'
import type { Ranking } from './ranking.js'
import type { AnySlot, Reader, Writer } from './slot.js'

export const STAGES = ['prepare', 'filter', 'score', 'pick', 'execute'] as const
export type Stage = (typeof STAGES)[number]

/** What a plugin may use of its worker. Time and chance are injected, so that a simulation can own both. */
export interface PluginEnv {
  readonly lane: LaneView
  readonly pods: PodView
  /** What has been learned of the pods' times to the first byte. */
  readonly latency: LatencyWeights
  /** How large the pods' caches are. */
  readonly caches: CacheSizes
  /** What plugins of all threads note of pods. */
  readonly board: Board
  /** Milliseconds of the state's clock. */
  now(): number
  /** 0 ≤ x < 1. */
  random(): number
  /** The profile's name: what shared cursors are named by. */
  readonly profile: string
  /** Calls back for each request of the profile that was booked on a pod; once per plugin, while it is built. */
  onBooked(listener: BookedFn): void
}

/** What a request sees of itself besides slots; the same for every plugin. */
export type RequestView = Pick<
  RoutingContext,
  | 'request'
  | 'body'
  | 'model'
  | 'modelId'
  | 'stream'
  | 'header'
  | 'has'
  | 'rawField'
  | 'stringField'
  | 'fieldBytes'
  | 'nameSession'
  | 'isFollowUp'
  | 'lane'
  | 'bound'
  | 'keptApart'
  | 'earlierPick'
>

export type PrepareFn<R extends AnySlot, W extends AnySlot> = (
  ctx: RequestView & Writer<R, W>,
) => void | Promise<void>
/** Sets keep[i] = 0 for each pod that must not be picked; keep[i] is 1 on entry. */
export type FilterFn<R extends AnySlot> = (ctx: RequestView & Reader<R>, pods: Pool, keep: Uint8Array) => void
/** Writes 0..1 for pods.slots[i] to out[i]; out is zeroed on entry. What lies outside counts as the nearer end, NaN as 0. */
export type ScoreFn<R extends AnySlot> = (ctx: RequestView & Reader<R>, pods: Pool, out: Float64Array) => void
/**
 * Writes what the request would cost on pods.slots[i] to out[i], in milliseconds or whatever unit the profile's costs
 * share; out is zeroed on entry. Below 0 counts as 0, NaN and what is beyond MAX_COST as MAX_COST.
 */
export type CostFn<R extends AnySlot> = ScoreFn<R>
/** Told that the request was booked on a pod: a plugin counts then, since what is selected may still be refused. */
export type BookedFn = (ctx: RequestView, slot: number) => void
/** Puts the pods to try into the ranking, best first. `scores[i]` is the weighted sum for pods.slots[i], less its costs. */
export type PickFn<R extends AnySlot> = (
  ctx: RequestView & Reader<R>,
  pods: Pool,
  scores: Float64Array,
  ranking: Ranking,
) => void

/** Why a filter dropped a pod, in a few words, for whoever reads an explanation; from what the decision saw of the pod. */
export type WhyDropped = (pod: PodState, bound: number) => string

/** What a client is told when nothing is left to pick: there is none to serve it, or all that could are busy. */
export type Refusal = 'no_pod' | 'overloaded'

/** Fields of every spec. `N` is its name, `R` and `W` are the slots it reads and writes. */
interface SpecBase<S extends Stage, N extends string, R extends AnySlot> {
  readonly stage: S
  readonly name: N
  readonly reads: readonly R[]
  /** The options as they were given, for writing the profile down again; defaults are not in it. */
  readonly given: Readonly<Record<string, unknown>>
  /** BOOK flags that the plugin adds to a booking. */
  readonly book: number
}
export interface PrepareSpec<N extends string, R extends AnySlot, W extends AnySlot>
  extends SpecBase<'prepare', N, R> {
  readonly writes: readonly W[]
  /** OPS bits if the native core does it; all native steps of a profile become one call. */
  readonly op: number
  /** The function to run after the fused native call; null where the native core does it all. */
  create(env: PluginEnv): PrepareFn<R, W> | null
}
export interface FilterSpec<N extends string, R extends AnySlot> extends SpecBase<'filter', N, R> {
  /** What it means for the client that this filter drops a pod. */
  readonly refusal: Refusal
  readonly why: WhyDropped
  create(env: PluginEnv): FilterFn<R>
}
export interface ScoreSpec<N extends string, R extends AnySlot> extends SpecBase<'score', N, R> {
  readonly weight: number
  /** Scores are added to a pod's total, costs are taken from it. */
  readonly measure: 'score' | 'cost'
  create(env: PluginEnv): ScoreFn<R>
}
export interface PickSpec<N extends string, R extends AnySlot> extends SpecBase<'pick', N, R> {
  create(env: PluginEnv): PickFn<R>
}
/** Names a workflow of the execution layer; the decision layer knows no more of it. */
export interface ExecuteSpec<N extends string> extends SpecBase<'execute', N, never> {
  /** The workflow's options, checked, with defaults filled in. */
  readonly options: Readonly<Record<string, unknown>>
}

export type AnyPrepareSpec = PrepareSpec<string, AnySlot, AnySlot>
export type AnyFilterSpec = FilterSpec<string, AnySlot>
export type AnyScoreSpec = ScoreSpec<string, AnySlot>
export type AnyPickSpec = PickSpec<string, AnySlot>
export type AnyExecuteSpec = ExecuteSpec<string>
export type AnySpec = AnyPrepareSpec | AnyFilterSpec | AnyScoreSpec | AnyPickSpec | AnyExecuteSpec

/** Options may be left out where none is required. */
export type OptionArgs<Given> = Record<never, never> extends Given ? [options?: Given] : [options: Given]

/** A factory as the registry keeps it: enough to check YAML, to document, and to make specs from plain data. */
export interface PluginFactory<Spec extends AnySpec, Given> {
  /** Throws `InvalidOptions`. */
  (...options: OptionArgs<Given>): Spec
  readonly stage: Spec['stage']
  readonly pluginName: Spec['name']
  /** One line for docs and the JSON Schema. */
  readonly summary: string
  /** All its options; unknown ones are refused. */
  readonly schema: z.ZodObject
  readonly reads: readonly AnySlot[]
  readonly writes: readonly AnySlot[]
  /** The same as a call, for options that come from a file. Throws `InvalidOptions`. */
  fromData(options: unknown): Spec
}

/** Any factory of a stage: `never` as the options it takes, so only `fromData` can make specs of it. */
export type PrepareFactory = PluginFactory<AnyPrepareSpec, never>
export type FilterFactory = PluginFactory<AnyFilterSpec, never>
export type ScoreFactory = PluginFactory<AnyScoreSpec, never>
export type PickFactory = PluginFactory<AnyPickSpec, never>
export type ExecuteFactory = PluginFactory<AnyExecuteSpec, never>
export type AnyFactory = PrepareFactory | FilterFactory | ScoreFactory | PickFactory | ExecuteFactory
