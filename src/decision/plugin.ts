/**
 * What a plugin is. `preparer`, `nativeStep`, `filter`, `scorer`, `picker` and `executor` each make a *factory* from a
 * definition; calling the factory with options gives a *spec*, which is data: a profile is a list of specs. A worker
 * turns specs into running functions with `create`, once, when the profile is compiled.
 */
import { z } from 'zod'
import type { LaneView } from '../data/lane-view.js'
import type { PodView, Pool } from '../data/pod-view.js'
import type { RoutingContext } from './context.js'
import type { Ranking } from './ranking.js'
import type { AnySlot, Reader, Writer } from './slot.js'

export type Stage = 'prepare' | 'filter' | 'score' | 'pick' | 'execute'

/** What a plugin may use of its worker. Time and chance are injected, so that a simulation can own both. */
export interface PluginEnv {
  readonly lane: LaneView
  readonly pods: PodView
  /** Milliseconds of the state's clock. */
  now(): number
  /** 0 ≤ x < 1. */
  random(): number
  /** The profile's name: what shared cursors are named by. */
  readonly profile: string
}

/** What a request sees of itself besides slots; the same for every plugin. */
export type RequestView = Pick<
  RoutingContext,
  'request' | 'body' | 'model' | 'stream' | 'header' | 'has' | 'rawField' | 'stringField' | 'lane' | 'bound'
>

export type PrepareFn<R extends AnySlot, W extends AnySlot> = (
  ctx: RequestView & Writer<R, W>,
) => void | Promise<void>
/** Sets keep[i] = 0 for each pod that must not be picked; keep[i] is 1 on entry. */
export type FilterFn<R extends AnySlot> = (ctx: RequestView & Reader<R>, pods: Pool, keep: Uint8Array) => void
/** Writes 0..1 for pods.slots[i] to out[i]; out is zeroed on entry. */
export type ScoreFn<R extends AnySlot> = (ctx: RequestView & Reader<R>, pods: Pool, out: Float64Array) => void
/** Puts the pods to try into the ranking, best first. */
export type PickFn<R extends AnySlot> = (
  ctx: RequestView & Reader<R>,
  pods: Pool,
  scores: Float64Array,
  ranking: Ranking,
) => void

/** Fields of every spec. `R` and `W` are the slots it reads and writes. */
interface SpecBase<S extends Stage, N extends string, R extends AnySlot> {
  readonly stage: S
  readonly name: N
  readonly reads: readonly R[]
  readonly options: Readonly<Record<string, unknown>>
}
export interface PrepareSpec<N extends string, R extends AnySlot, W extends AnySlot>
  extends SpecBase<'prepare', N, R> {
  readonly writes: readonly W[]
  /** OPS bits if the native core does it; all native steps of a profile become one call. */
  readonly op: number
  /** BOOK flags that the step adds to a booking. */
  readonly book: number
  create(env: PluginEnv): PrepareFn<R, W> | null
}
export interface FilterSpec<N extends string, R extends AnySlot> extends SpecBase<'filter', N, R> {
  create(env: PluginEnv): FilterFn<R>
}
export interface ScoreSpec<N extends string, R extends AnySlot> extends SpecBase<'score', N, R> {
  readonly weight: number
  create(env: PluginEnv): ScoreFn<R>
}
export interface PickSpec<N extends string, R extends AnySlot> extends SpecBase<'pick', N, R> {
  create(env: PluginEnv): PickFn<R>
}
/** Names a workflow of the execution layer; the decision layer knows no more of it. */
export interface ExecuteSpec<N extends string> extends SpecBase<'execute', N, never> {}

/** A factory as the registry keeps it: enough to check YAML, to document, and to make specs from plain data. */
export interface PluginFactory<Spec, Options extends z.ZodObject> {
  (options?: z.input<Options>): Spec
  readonly pluginName: string
  readonly stage: Stage
  /** One line for docs and the JSON Schema. */
  readonly summary: string
  readonly schema: Options
  readonly reads: readonly AnySlot[]
  readonly writes: readonly AnySlot[]
}
