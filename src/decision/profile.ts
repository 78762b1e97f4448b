/**
 * Profiles and their builder. The builder's types carry the names of the slots written so far, so that a plugin which
 * reads a slot that nothing before it writes does not compile, and the compiler's message says which plugin and slot.
 * They also carry the stage: Prepare, Filter and Score may be left out, Pick and Execute may not, and none can be
 * called after a later one.
 */
import type {
  AnyExecuteSpec,
  AnyFilterSpec,
  AnyPickSpec,
  AnyPrepareSpec,
  AnyScoreSpec,
  ExecuteSpec,
  FilterSpec,
  PickSpec,
  PrepareSpec,
  ScoreSpec,
} from './plugin.js'
import type { AnySlot } from './slot.js'

/** What a worker compiles: a plain list of specs. */
export interface Profile {
  readonly name: string
  readonly prepare: readonly AnyPrepareSpec[]
  readonly filter: readonly AnyFilterSpec[]
  readonly score: readonly AnyScoreSpec[]
  readonly pick: AnyPickSpec
  readonly execute: AnyExecuteSpec
}

/** The compile error as a type: no spec is assignable to it, so it is what the compiler prints. */
export type SlotNotWritten<
  Plugin extends string,
  SlotName extends string,
> = `plugin '${Plugin}' reads slot '${SlotName}', which nothing before it writes`

type PluginAndReads<Spec> =
  Spec extends PrepareSpec<infer N, infer R, infer _>
    ? [N, R]
    : Spec extends FilterSpec<infer N, infer R>
      ? [N, R]
      : Spec extends ScoreSpec<infer N, infer R>
        ? [N, R]
        : Spec extends PickSpec<infer N, infer R>
          ? [N, R]
          : never

/** The spec itself if every slot it reads is in `Have`; otherwise the message. */
export type Supplied<Have extends string, Spec> =
  PluginAndReads<Spec> extends [infer N extends string, infer R extends AnySlot]
    ? [Exclude<R['name'], Have>] extends [never]
      ? Spec
      : SlotNotWritten<N, Exclude<R['name'], Have>>
    : Spec

type Written<Spec> = Spec extends PrepareSpec<string, AnySlot, infer W> ? W['name'] : never

/** Names of the slots that the specs of a tuple before position `At` write. */
type WrittenBefore<
  Specs extends readonly unknown[],
  At,
  Sum extends string = never,
  Count extends readonly unknown[] = [],
> = `${Count['length']}` extends At
  ? Sum
  : Specs extends readonly [infer First, ...infer Rest]
    ? WrittenBefore<Rest, At, Sum | Written<First>, [...Count, unknown]>
    : Sum

/** A profile that can still be picked from. */
interface PickStep<Have extends string> {
  /** How the pod is picked; one picker. */
  pick<const Spec extends AnyPickSpec>(plugin: Spec & Supplied<Have, Spec>): ExecuteStep
}
interface ScoreStep<Have extends string> extends PickStep<Have> {
  /** What makes a pod better; scores are 0..1, summed by weight. */
  score<const Specs extends readonly AnyScoreSpec[]>(
    ...plugins: { [At in keyof Specs]: Supplied<Have, Specs[At]> }
  ): PickStep<Have>
}
interface FilterStep<Have extends string> extends ScoreStep<Have> {
  /** Which pods may serve the request at all, in this order. */
  filter<const Specs extends readonly AnyFilterSpec[]>(
    ...plugins: { [At in keyof Specs]: Supplied<Have, Specs[At]> }
  ): ScoreStep<Have>
}
interface PrepareStep extends FilterStep<never> {
  /** What must be known of the request, in this order; a plugin may read what one before it writes. */
  prepare<const Specs extends readonly AnyPrepareSpec[]>(
    ...plugins: { [At in keyof Specs]: Supplied<WrittenBefore<Specs, At>, Specs[At]> }
  ): FilterStep<Written<Specs[number]>>
}
interface ExecuteStep {
  /** The workflow that uses the picked pod; makes the profile. */
  execute(workflow: ExecuteSpec<string>): Profile
}

export type { ExecuteStep, FilterStep, PickStep, PrepareStep, ScoreStep }

/** Starts a profile: `profile('name').prepare(…).filter(…).score(…).pick(…).execute(…)`. */
export function profile(name: string): PrepareStep {
  return new Builder({ name, prepare: [], filter: [], score: [] })
}

type Draft = Omit<Profile, 'pick' | 'execute'>

/**
 * All steps in one object; only the interfaces above are handed out. A message type in a parameter means that the call
 * did not compile, so at run time every argument is a spec; a string is refused all the same, for callers in JavaScript.
 */
class Builder {
  constructor(private readonly draft: Draft) {}

  prepare(...plugins: readonly (AnyPrepareSpec | string)[]): Builder {
    return new Builder({ ...this.draft, prepare: specs(plugins) })
  }

  filter(...plugins: readonly (AnyFilterSpec | string)[]): Builder {
    return new Builder({ ...this.draft, filter: specs(plugins) })
  }

  score(...plugins: readonly (AnyScoreSpec | string)[]): Builder {
    return new Builder({ ...this.draft, score: specs(plugins) })
  }

  pick(plugin: AnyPickSpec): ExecuteStep {
    return { execute: workflow => ({ ...this.draft, pick: plugin, execute: workflow }) }
  }
}

function specs<Spec extends object>(plugins: readonly (Spec | string)[]): readonly Spec[] {
  return plugins.map(plugin => {
    if (typeof plugin === 'string') throw new TypeError(`'${plugin}' is not a plugin: call its factory`)
    return plugin
  })
}
