/** The numbers of a profile: which options its plugins have, what they may be and what they are. */
import type { AnySpec, Stage } from '../../decision/plugin.js'
import type { Profile } from '../../decision/profile.js'
import type { PluginRegistry } from '../../decision/registry.js'
import { toJsonSchema } from '../../yaml/json-schema.js'

/** Bounds of a number as a schema tells them. */
export interface Bounds {
  readonly least: number
  readonly most: number
  /** Whether `least` itself is too little: a weight is over 0. */
  readonly isOver: boolean
  /** The same of `most`. */
  readonly isUnder: boolean
  readonly isInteger: boolean
}

/** A plugin of the profile. */
export interface Part {
  readonly stage: Stage
  /** Place among those of its stage. */
  readonly index: number
  readonly plugin: string
  /** As `--vary` names it: the plugin's name, and from the second of that name on its number: `queue[2]`. */
  readonly label: string
  /** Its numeric options by name, in the schema's order. */
  readonly numbers: ReadonlyMap<string, NumberOption>
  /** All other options' names. */
  readonly others: readonly string[]
}

export interface NumberOption extends Bounds {
  readonly name: string
  /** What it is in the profile, if need be by default; null where it has no value and is off. */
  readonly value: number | null
}

/** All plugins of a profile but its workflow, in the order they run. */
export function partsOf(profile: Profile, registry: PluginRegistry): Part[] {
  const parts: Part[] = []
  const { prepare, filter, score, pick } = profile
  for (const specs of [prepare, filter, score, [pick]]) {
    for (const [index, spec] of specs.entries()) {
      const same = parts.filter(({ plugin }) => plugin === spec.name).length
      parts.push(partOf(spec, index, same === 0 ? spec.name : `${spec.name}[${same + 1}]`, registry))
    }
  }
  return parts
}

function partOf(spec: AnySpec, index: number, label: string, registry: PluginRegistry): Part {
  const { stage, name: plugin, given } = spec
  const schema = registry[stage].get(plugin)?.schema
  const numbers = new Map<string, NumberOption>()
  const others: string[] = []
  for (const [name, option] of Object.entries(
    schema === undefined ? {} : (toJsonSchema(schema).properties ?? {}),
  )) {
    if (typeof option !== 'object' || (option.type !== 'number' && option.type !== 'integer')) {
      others.push(name)
      continue
    }
    const value = given[name] ?? option.default
    numbers.set(name, {
      name,
      value: typeof value === 'number' ? value : null,
      least: numberIn(option.minimum, option.exclusiveMinimum) ?? Number.NEGATIVE_INFINITY,
      most: numberIn(option.maximum, option.exclusiveMaximum) ?? Number.POSITIVE_INFINITY,
      isOver: option.minimum === undefined && option.exclusiveMinimum !== undefined,
      isUnder: option.maximum === undefined && option.exclusiveMaximum !== undefined,
      isInteger: option.type === 'integer',
    })
  }
  return { stage, index, plugin, label, numbers, others }
}

/** The first that is a number: older drafts of JSON Schema wrote exclusive bounds as true. */
const numberIn = (...values: readonly unknown[]): number | undefined =>
  values.find(value => typeof value === 'number')

/** What keeps a value from being the option's, as a noun of what is expected; null: nothing. */
export function expectedOf(bounds: Bounds, value: number): string | null {
  const { least, most, isOver, isUnder, isInteger } = bounds
  const isGood =
    value >= least &&
    value <= most &&
    !(isOver && value === least) &&
    !(isUnder && value === most) &&
    (!isInteger || Number.isInteger(value))
  if (isGood) return null
  // Zod gives every integer the bounds of what a double holds exactly; nobody needs to read that.
  const isLow = least > Number.MIN_SAFE_INTEGER
  const isHigh = most < Number.MAX_SAFE_INTEGER
  const low = isLow ? `${isOver ? 'over' : 'at least'} ${least}` : ''
  const high = isHigh ? `${isUnder ? 'under' : 'at most'} ${most}` : ''
  const range = [low, high].filter(text => text !== '').join(' and ')
  return `${isInteger ? 'a whole number' : 'a number'}${range === '' ? '' : ` ${range}`}`
}
