/**
 * Flags made of a schema: name, help, choices and default come from the JSON Schema of what they set, and their values
 * are judged by the schema itself, so that a flag and a field cannot drift apart.
 */
import { Option } from 'commander'
import type { JsonSchema } from '../yaml/json-schema.js'

/** A flag for a described value: `--max-inflight <number>  Most … (default: 0)`. */
export function schemaOption(flag: string, schema: JsonSchema | undefined): Option {
  const option = new Option(`${flag}${placeholder(schema)}`, helpText(schema))
  if (isList(schema)) return option.argParser(collect)
  // A name may look like a number and is a name all the same.
  return schema?.type === 'string' ? option : option.argParser(plainValue)
}

/** One flag for each field of a flat object schema. */
export function optionsOf(schema: JsonSchema): { flag: string; key: string; option: Option }[] {
  return Object.entries(schema.properties ?? {}).map(([key, field]) => {
    const flag = `--${kebab(key)}`
    return { flag, key, option: schemaOption(flag, typeof field === 'object' ? field : undefined) }
  })
}

/** `maxInflight` → `max-inflight`. */
export const kebab = (name: string): string => name.replace(/[A-Z]/g, letter => `-${letter.toLowerCase()}`)

/** The text of a flag as YAML would read it unquoted: numbers and booleans are such, all else is text. */
export function plainValue(text: string): string | number | boolean {
  if (/^-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?$/.test(text)) return Number(text)
  return text === 'true' ? true : text === 'false' ? false : text
}

function collect(text: string, before: unknown): unknown[] {
  const list: unknown[] = Array.isArray(before) ? before : []
  return [...list, plainValue(text)]
}

const isList = (schema: JsonSchema | undefined): boolean => schema?.type === 'array'

function placeholder(schema: JsonSchema | undefined): string {
  switch (schema?.type) {
    case 'integer':
    case 'number':
      return ' <number>'
    case 'boolean':
      return ' [boolean]'
    case 'array':
      return ' <value>'
    default:
      return ' <text>'
  }
}

function helpText(schema: JsonSchema | undefined): string {
  const notes: string[] = []
  if (schema?.enum !== undefined) notes.push(`choices: ${schema.enum.join(', ')}`)
  if (schema?.default !== undefined && !isList(schema))
    notes.push(`default: ${JSON.stringify(schema.default)}`)
  if (isList(schema)) notes.push('repeatable')
  const text = schema?.description ?? ''
  return notes.length === 0 ? text : `${text} (${notes.join('; ')})`
}
