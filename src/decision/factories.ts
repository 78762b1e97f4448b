/** The makers of plugin factories: a definition goes in, a typed factory comes out. */
import { z } from 'zod'
import { checkOptions, weightOption } from './options.js'
import type {
  AnyFactory,
  CostFn,
  ExecuteSpec,
  FilterFn,
  FilterSpec,
  OptionArgs,
  PickFn,
  PickSpec,
  PluginEnv,
  PluginFactory,
  PrepareFn,
  PrepareSpec,
  Refusal,
  ScoreFn,
  ScoreSpec,
  Stage,
  WhyDropped,
} from './plugin.js'
import type { AnySlot } from './slot.js'

type NoShape = Record<never, never>
/** What a caller gives; for a plugin without options, an object that takes no key. */
type Given<Shape extends z.ZodRawShape> = keyof Shape extends never
  ? Readonly<Record<string, never>>
  : z.input<z.ZodObject<Shape>>
type Weight = { readonly weight?: number | undefined }
type GivenWithWeight<Shape extends z.ZodRawShape> = keyof Shape extends never
  ? Weight
  : z.input<z.ZodObject<Shape>> & Weight

/** What every definition says. */
interface About<N extends string, R extends AnySlot = never> {
  /** Kebab-case; what YAML calls it. */
  readonly name: N
  /** One line for docs and editors. */
  readonly summary: string
  /** Slots it reads; something before it in the profile must write them. */
  readonly reads?: readonly R[]
  /** BOOK flags that it adds to a booking. */
  readonly book?: number
}

/** Options make the function: `build` runs once per worker. `.describe()` each option, with its unit. */
interface Built<Fn, Shape extends z.ZodRawShape> {
  readonly options: z.ZodObject<Shape>
  readonly build: (options: z.output<z.ZodObject<Shape>>, env: PluginEnv) => Fn
}
interface NotBuilt {
  readonly options?: never
  readonly build?: never
}

/** The options of a plugin that builds its function from its environment alone. */
export const noOptions = z.object({})

/** A native step of Prepare: the fused call does it, so there is no function. */
export function nativeStep<const N extends string, R extends AnySlot = never, W extends AnySlot = never>(
  definition: About<N, R> & { readonly op: number; readonly writes: readonly W[] },
): PluginFactory<PrepareSpec<N, R, W>, Given<NoShape>> {
  const { op, writes } = definition
  return factory(definition, 'prepare', writes, noOptions, common => ({
    ...common,
    reads: definition.reads ?? [],
    writes,
    op,
    create: () => null,
  }))
}

/** A Prepare plugin in TypeScript; it runs after the fused native call, in the profile's order. */
export function preparer<
  const N extends string,
  R extends AnySlot = never,
  W extends AnySlot = never,
  Shape extends z.ZodRawShape = NoShape,
>(
  definition: About<N, R> & { readonly writes: readonly W[] } & (
      | ({ readonly prepare: PrepareFn<R, W> } & NotBuilt)
      | ({ readonly prepare?: never } & Built<PrepareFn<R, W>, Shape>)
    ),
): PluginFactory<PrepareSpec<N, R, W>, Given<Shape>> {
  const { writes } = definition
  return factory(definition, 'prepare', writes, definition.options, (common, data) => ({
    ...common,
    reads: definition.reads ?? [],
    writes,
    op: 0,
    create: definition.build === undefined ? () => definition.prepare : builder(definition, data),
  }))
}

/** A Filter plugin: drops pods that must not serve the request. */
export function filter<
  const N extends string,
  R extends AnySlot = never,
  Shape extends z.ZodRawShape = NoShape,
>(
  definition: About<N, R> & {
    /** What a drop means for the client if nothing is left; 'no_pod' unless it says otherwise. */
    readonly refusal?: Refusal
    /** Why a pod was dropped, for explanations; the summary unless it says more. */
    readonly why?: WhyDropped
  } & (
      | ({ readonly filter: FilterFn<R> } & NotBuilt)
      | ({ readonly filter?: never } & Built<FilterFn<R>, Shape>)
    ),
): PluginFactory<FilterSpec<N, R>, Given<Shape>> {
  return factory(definition, 'filter', [], definition.options, (common, data) => ({
    ...common,
    reads: definition.reads ?? [],
    refusal: definition.refusal ?? 'no_pod',
    why: definition.why ?? (() => definition.summary),
    create: definition.build === undefined ? () => definition.filter : builder(definition, data),
  }))
}

const weighted = z.object({ weight: weightOption })

/** A Score plugin: 0..1 for each pod, higher is better. Each has the option `weight` besides its own. */
export function scorer<
  const N extends string,
  R extends AnySlot = never,
  Shape extends z.ZodRawShape = NoShape,
>(
  definition: About<N, R> &
    (({ readonly score: ScoreFn<R> } & NotBuilt) | ({ readonly score?: never } & Built<ScoreFn<R>, Shape>)),
): PluginFactory<ScoreSpec<N, R>, GivenWithWeight<Shape>> {
  return rated(definition, 'score', definition.score)
}

/**
 * A Score plugin whose measure is a cost: 0 or more for each pod, lower is better, weighted and taken from the total.
 * Costs of one profile share a unit, and a scorer's weight beside them is then what a score of 1 is worth in it. Why not
 * a score between 0 and 1: scaled by the dearest pod of the moment, a cost no longer adds up with others, and scaled by
 * a constant, it ends somewhere.
 */
export function cost<
  const N extends string,
  R extends AnySlot = never,
  Shape extends z.ZodRawShape = NoShape,
>(
  definition: About<N, R> &
    (({ readonly cost: CostFn<R> } & NotBuilt) | ({ readonly cost?: never } & Built<CostFn<R>, Shape>)),
): PluginFactory<ScoreSpec<N, R>, GivenWithWeight<Shape>> {
  return rated(definition, 'cost', definition.cost)
}

function rated<const N extends string, R extends AnySlot, Shape extends z.ZodRawShape>(
  definition: About<N, R> & (NotBuilt | Built<ScoreFn<R>, Shape>),
  measure: ScoreSpec<N, R>['measure'],
  fixed: ScoreFn<R> | undefined,
): PluginFactory<ScoreSpec<N, R>, GivenWithWeight<Shape>> {
  const own: z.ZodObject = definition.options ?? noOptions
  const schema = own.safeExtend({ weight: weightOption })
  return factory(definition, 'score', [], schema, (common, data) => ({
    ...common,
    reads: definition.reads ?? [],
    measure,
    weight: checkOptions(definition.name, weighted, data).weight,
    create: creator(definition, fixed, data),
  }))
}

function creator<Fn, Shape extends z.ZodRawShape>(
  definition: { readonly name: string } & (NotBuilt | Built<Fn, Shape>),
  fixed: Fn | undefined,
  data: unknown,
): (env: PluginEnv) => Fn {
  if (definition.build !== undefined) return builder(definition, data)
  if (fixed === undefined)
    throw new TypeError(`plugin '${definition.name}' has neither a function nor a build`)
  return () => fixed
}

/** A Pick plugin: turns scores into an order of pods to try. */
export function picker<
  const N extends string,
  R extends AnySlot = never,
  Shape extends z.ZodRawShape = NoShape,
>(
  definition: About<N, R> &
    (({ readonly pick: PickFn<R> } & NotBuilt) | ({ readonly pick?: never } & Built<PickFn<R>, Shape>)),
): PluginFactory<PickSpec<N, R>, Given<Shape>> {
  return factory(definition, 'pick', [], definition.options, (common, data) => ({
    ...common,
    reads: definition.reads ?? [],
    create: definition.build === undefined ? () => definition.pick : builder(definition, data),
  }))
}

/** Names a workflow of the execution layer, so that a profile can say how the picked pod is used. */
export function executor<const N extends string, Shape extends z.ZodRawShape = NoShape>(
  definition: About<N> & { readonly options?: z.ZodObject<Shape> },
): PluginFactory<ExecuteSpec<N>, Given<Shape>> {
  const own = definition.options
  return factory(definition, 'execute', [], own, (common, data) => ({
    ...common,
    reads: [],
    options: own === undefined ? {} : checkOptions(definition.name, own.strip(), data),
  }))
}

function builder<Fn, Shape extends z.ZodRawShape>(
  { name, options, build }: { readonly name: string } & Built<Fn, Shape>,
  data: unknown,
): (env: PluginEnv) => Fn {
  // Stripped, not strict: the whole object was checked already, and a scorer's holds `weight` too.
  const checked = checkOptions(name, options.strip(), data)
  return env => {
    const made = build(checked, env)
    // A forgotten `return`, which would fail on every request otherwise.
    if (typeof made !== 'function') {
      throw new TypeError(`plugin '${name}': its build must return a function, but gave ${made}`)
    }
    return made
  }
}

/** What all specs take over from their definition. */
interface Common<S extends Stage, N extends string> {
  readonly stage: S
  readonly name: N
  readonly book: number
  readonly given: Readonly<Record<string, unknown>>
}

/** The callable with its description. `make` gets options that have passed the strict schema. */
function factory<S extends Stage, N extends string, R extends AnySlot, Spec, Input>(
  definition: About<N, R>,
  stage: S,
  writes: readonly AnySlot[],
  options: z.ZodObject | undefined,
  make: (common: Common<S, N>, data: unknown) => Spec,
) {
  const { name, summary, reads = [], book = 0 } = definition
  const schema = (options ?? noOptions).strict()
  const fromData = (data: unknown): Spec => {
    checkOptions(name, schema, data)
    return make({ stage, name, book, given: isRecord(data) ? data : {} }, data)
  }
  const call = (...[given]: OptionArgs<Input>): Spec => fromData(given)
  const made = Object.assign(call, { stage, pluginName: name, summary, schema, reads, writes, fromData })
  factories.add(made)
  return made
}

/** All that were made here: by their looks alone, those of another copy of this package could not be told apart. */
const factories = new WeakSet<object>()

/** Is it what one of the makers above gave? */
export function isFactory(value: unknown): value is AnyFactory {
  return typeof value === 'function' && factories.has(value)
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null
}
