/** What the search varies: `--vary prefill-time.kvRoom=0..0.5`, or all that a profile has. */
import type { Profile } from '../../decision/profile.js'
import type { PluginRegistry } from '../../decision/registry.js'
import { nearestNames } from '../../yaml/nearest.js'
import { OptionsError } from '../options/failure.js'
import type { Dimension } from './dimension.js'
import { expectedOf, type NumberOption, type Part, partsOf } from './numbers.js'

/** A dimension, and where in the profile its number stands. */
export interface Knob extends Dimension {
  readonly part: Part
  readonly option: string
}

export interface Space {
  readonly knobs: readonly Knob[]
  /** Options that could have been varied, and why they are not: `affinity-gate.sloMs (0)`. */
  readonly leftOut: readonly string[]
}

/** How far from its value an option is varied where neither the user nor its schema says. */
const FACTOR = 4

/** Throws an OptionsError that names what there is. */
export function spaceOf(
  profile: Profile,
  registry: PluginRegistry,
  vary: readonly string[] | undefined,
): Space {
  const parts = partsOf(profile, registry)
  if (vary === undefined) return wholeSpace(profile, parts)
  const knobs = vary.map(text => knobOf(text, profile, parts))
  const labels = knobs.map(({ label }) => label)
  const twice = labels.find((label, at) => labels.indexOf(label) !== at)
  if (twice !== undefined) throw new OptionsError(`--vary  ${twice} is named twice — leave one out`)
  return { knobs, leftOut: [] }
}

/**
 * Every number of filters, scorers and the picker. But for the first scorer's weight: the order of pods does not change if
 * all weights are multiplied alike, so it would be a dimension along which nothing happens. And but for what is 0 or
 * absent, which mostly means off: nothing is within a factor of it.
 */
function wholeSpace(profile: Profile, parts: readonly Part[]): Space {
  const knobs: Knob[] = []
  const leftOut: string[] = []
  for (const part of parts.filter(({ stage }) => stage !== 'prepare')) {
    for (const option of part.numbers.values()) {
      const label = `${part.label}.${option.name}`
      if (part.stage === 'score' && part.index === 0 && option.name === 'weight') continue
      if (option.value === null || option.value === 0) leftOut.push(`${label} (${option.value ?? 'not set'})`)
      else {
        const [low, high] = around(option, option.value)
        if (low < high) knobs.push(knob(part, option, low, high, null))
      }
    }
  }
  if (knobs.length > 0) return { knobs, leftOut }
  const more = leftOut.length === 0 ? '' : `; off: ${leftOut.join(', ')}`
  throw new OptionsError(
    `--profile  '${profile.name}' has no number to vary${more} — take another profile, or name an option and its range with --vary`,
  )
}

function knobOf(text: string, profile: Profile, parts: readonly Part[]): Knob {
  const [, plugin, name, range] = /^([^.=]+)\.([^.=]+)(?:=(.*))?$/.exec(text.trim()) ?? []
  if (plugin === undefined || name === undefined) {
    throw new OptionsError(
      `--vary  expected PLUGIN.OPTION=LOW..HIGH, got ${JSON.stringify(text)} — write prefill-time.kvRoom=0..0.5`,
    )
  }
  const part = parts.find(({ label }) => label === plugin)
  if (part === undefined) throw new OptionsError(unknownPlugin(plugin, profile, parts))
  const option = part.numbers.get(name)
  if (option === undefined) throw new OptionsError(unknownOption(name, part))
  if (range === undefined) return rangeKnob(part, option, '', '')
  const ends = /^(.*?)\.\.(.*)$/.exec(range)
  if (ends !== null) return rangeKnob(part, option, ends[1] ?? '', ends[2] ?? '')
  const choices = [...new Set(range.split(',').map(each => numberOf(each, part, option)))].sort(
    (a, b) => a - b,
  )
  return knob(part, option, choices[0] ?? 0, choices.at(-1) ?? 0, choices)
}

/** An end that is not named is the schema's, or a factor from the value where the schema has none. */
function rangeKnob(part: Part, option: NumberOption, from: string, to: string): Knob {
  const { least, most, isInteger, value } = option
  const isLowBounded = least > Number.MIN_SAFE_INTEGER && !option.isOver
  const isHighBounded = most < Number.MAX_SAFE_INTEGER && !option.isUnder
  const [below, above] = value === null || value === 0 ? [undefined, undefined] : around(option, value)
  const low = from.trim() === '' ? (isLowBounded ? least : below) : numberOf(from, part, option)
  const high = to.trim() === '' ? (isHighBounded ? most : above) : numberOf(to, part, option)
  const label = `${part.label}.${option.name}`
  if (low === undefined || high === undefined) {
    throw new OptionsError(
      `--vary  ${label} is ${value ?? 'not set'} and its plugin names no ${low === undefined ? 'least' : 'most'} — write a range, ${label}=LOW..HIGH`,
    )
  }
  if (low >= high) {
    throw new OptionsError(
      `--vary  ${label}: ${low}..${high} is no range — write the lower number first, or a list: ${label}=${isInteger ? '1,2,4' : '0.5,1,2'}`,
    )
  }
  return knob(part, option, low, high, null)
}

/** Within the factor, and within what the schema allows. */
function around({ least, most, isOver, isUnder, isInteger }: NumberOption, value: number): [number, number] {
  const [a, b] = [value / FACTOR, value * FACTOR]
  const low = Math.max(Math.min(a, b), isOver && Math.min(a, b) <= least ? value : least)
  const high = Math.min(Math.max(a, b), isUnder && Math.max(a, b) >= most ? value : most)
  return isInteger ? [Math.ceil(low), Math.floor(high)] : [low, high]
}

function numberOf(text: string, { label }: Part, option: NumberOption): number {
  const value = text.trim() === '' ? Number.NaN : Number(text)
  const expected = Number.isFinite(value) ? expectedOf(option, value) : 'a number'
  if (expected === null) return value
  throw new OptionsError(
    `--vary  ${label}.${option.name}: expected ${expected}, got ${JSON.stringify(text.trim())} — write ${label}.${option.name}=LOW..HIGH or =A,B,C within that`,
  )
}

const knob = (
  part: Part,
  option: NumberOption,
  low: number,
  high: number,
  choices: readonly number[] | null,
): Knob => ({
  part,
  option: option.name,
  label: `${part.label}.${option.name}`,
  // An option that is off has no number to begin with; the profile as given is tried without one.
  given: option.value ?? Number.NaN,
  low,
  high,
  isInteger: option.isInteger,
  choices,
})

function unknownPlugin(plugin: string, profile: Profile, parts: readonly Part[]): string {
  const withNumbers = parts.filter(({ numbers }) => numbers.size > 0).map(({ label }) => label)
  const known = withNumbers.length > 0 ? withNumbers : parts.map(({ label }) => label)
  const [guess] = nearestNames(plugin, known)
  const fix = guess === undefined ? `it has ${known.join(', ')}` : `write ${guess}`
  return `--vary  profile '${profile.name}' has no plugin '${plugin}' — ${fix}`
}

function unknownOption(name: string, { label, numbers, others }: Part): string {
  if (others.includes(name)) return `--vary  ${label}.${name} is no number — ${numbersOf(label, numbers)}`
  const [guess] = nearestNames(name, [...numbers.keys()])
  const fix = guess === undefined ? numbersOf(label, numbers) : `write ${label}.${guess}`
  return `--vary  plugin '${label}' has no option '${name}' — ${fix}`
}

const numbersOf = (label: string, numbers: ReadonlyMap<string, NumberOption>): string =>
  numbers.size === 0 ? `'${label}' has none` : `numbers of '${label}': ${[...numbers.keys()].join(', ')}`
