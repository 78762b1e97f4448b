/** The flags that `simulate` and `tune` have in common: one for each field of their options, made of the schema. */
import { Option } from 'commander'
import type { z } from 'zod'
import type { Override } from '../config/overrides.js'
import { podClasses } from '../simulation/pod-classes/index.js'
import { toJsonSchema } from '../yaml/json-schema.js'
import { CliFailure } from './failure.js'
import { optionsOf, plainValue } from './schema-flags.js'

export type Flags = Readonly<Record<string, unknown>>

export interface FieldFlag {
  readonly flag: string
  readonly key: string
  readonly option: Option
}

/** All fields but the trace, which is an argument. */
export const fieldFlagsOf = (schema: z.ZodType): FieldFlag[] =>
  optionsOf(toJsonSchema(schema))
    .filter(({ key }) => key !== 'trace')
    .map(({ flag, key, option }) => ({ flag, key, option: flagFor(flag, key, option) }))

/** The flags as values laid over the scenario file's. */
export function overridesOf(
  fieldFlags: readonly FieldFlag[],
  trace: string | undefined,
  flags: Flags,
): Override[] {
  const overrides = fieldFlags.flatMap(({ flag, key }): Override[] => {
    const value = flags[key]
    return value === undefined ? [] : [{ flag, path: [key], value }]
  })
  return trace === undefined ? overrides : [...overrides, { flag: 'trace', path: ['trace'], value: trace }]
}

/** Lists are written with commas here, and maps as `name=value,…`. */
function flagFor(flag: string, key: string, option: Option): Option {
  if (key === 'compare') {
    return new Option(`${flag} <names>`, `${option.description} Separated by commas.`).argParser(listOf)
  }
  if (key === 'synthetic') return new Option(`${flag} <settings>`, option.description).argParser(mapOf)
  if (key === 'fleet') return new Option(`${flag} <pods>`, option.description)
  if (key === 'config') return new Option(`-c, ${flag} <file>`, option.description)
  if (key === 'modelDir') return new Option(`${flag} <dir>`, option.description)
  if (key === 'profile') return new Option(`${flag} <name>`, option.description)
  return option
}

const listOf = (text: string): string[] => text.split(',').map(part => part.trim())

function mapOf(text: string): Record<string, unknown> {
  return Object.fromEntries(
    listOf(text).map(part => {
      const at = part.indexOf('=')
      if (at > 0) return [part.slice(0, at), plainValue(part.slice(at + 1))]
      throw new CliFailure(`--synthetic  expected name=value, got ${JSON.stringify(part)}`, 2, 'lines')
    }),
  )
}

export function classList(): string {
  const width = Math.max(...podClasses.map(({ name }) => name.length))
  return `\nPod classes:\n${podClasses.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}\n`).join('')}`
}

export function textFlag(flags: Flags, name: string): string | undefined {
  const value = flags[name]
  return typeof value === 'string' ? value : undefined
}
