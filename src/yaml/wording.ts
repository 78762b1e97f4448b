/** zod's issues in our words: what was expected, what was found, what to write instead. */
import type { z } from 'zod'
import type { ConfigPath } from './issue.js'
import { type JsonSchema, keysOf, schemaAt } from './json-schema.js'
import { nearestNames } from './nearest.js'

type ZodIssue = z.core.$ZodIssue

/** An issue without its place. `at`: whether the key or the value of the path is at fault. */
export interface Finding {
  readonly path: ConfigPath
  readonly at: 'key' | 'value'
  readonly message: string
  readonly fix?: string
}

/**
 * One zod issue as findings: an issue about several unknown keys becomes one for each. `root` describes the data that
 * was checked.
 */
export function findingsOf(issue: ZodIssue, root: JsonSchema): Finding[] {
  const path = issue.path.map(part => (typeof part === 'number' ? part : String(part)))
  const schema = schemaAt(path, root)
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map(key => unknownKey(path, key, schema === undefined ? [] : keysOf(schema)))
  if (issue.code === 'custom')
    return [{ path, at: 'value', message: issue.message, ...fixOf(issue.params?.['fix']) }]
  if (issue.code === 'invalid_key') {
    return [{ path, at: 'key', message: `bad name: ${issue.issues[0]?.message ?? issue.message}` }]
  }
  const meant = branchMeant(issue)
  if (meant !== undefined) {
    return meant.flatMap(inner => findingsOf({ ...inner, path: [...issue.path, ...inner.path] }, root))
  }
  const wanted = expectation(issue, schema)
  if (wanted === undefined)
    return [{ path, at: 'value', message: `${lowerFirst(issue.message)}, got ${show(issue.input)}` }]
  if (issue.input === undefined) return [{ path, at: 'value', message: `is missing: expected ${wanted}` }]
  return [
    {
      path,
      at: 'value',
      message: `expected ${wanted}, got ${show(issue.input)}`,
      ...fixOf(remedy(issue, schema)),
    },
  ]
}

function unknownKey(path: ConfigPath, key: string, known: readonly string[]): Finding {
  const guess = nearest(key, known)
  const fix = guess === undefined ? `known here: ${known.join(', ')}` : `write ${guess}`
  return {
    path: [...path, key],
    at: 'key',
    message: 'unknown key',
    ...fixOf(known.length === 0 ? undefined : fix),
  }
}

/** What would have been right, as a noun; undefined where the message itself says it. */
function expectation(issue: ZodIssue, schema: JsonSchema | undefined): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return numberRange(schema) ?? nouns[issue.expected] ?? issue.expected
    case 'invalid_value':
      return listed(issue.values.map(String))
    case 'too_small':
      return numberRange(schema) ?? bound(issue.origin, 'at least', issue.minimum)
    case 'too_big':
      return numberRange(schema) ?? bound(issue.origin, 'at most', issue.maximum)
    case 'invalid_union':
      return listed(issue.errors.flatMap((branch, i) => branchExpectation(branch[0], schema?.anyOf?.[i])))
    default:
      return undefined
  }
}

/**
 * Of several forms that a value may have, the one that it was meant to be: the only one of its kind, or of several kinds
 * of maps the one whose keys it has, so that the fault lies deeper.
 */
function branchMeant(issue: ZodIssue): readonly ZodIssue[] | undefined {
  if (issue.code !== 'invalid_union') return undefined
  const ofKind = issue.errors.filter(faults => !faults.some(isWrongKind))
  const least = Math.min(...ofKind.map(foreignKeys))
  const nearest = ofKind.filter(faults => foreignKeys(faults) === least)
  return nearest.length === 1 ? nearest[0] : undefined
}

/** How far a map is from a form: keys that it has too many, and those that it lacks. */
function foreignKeys(faults: readonly ZodIssue[]): number {
  const counts = faults.map(({ path, input, ...fault }) => {
    if (fault.code === 'unrecognized_keys' && path.length === 0) return fault.keys.length
    return path.length === 1 && input === undefined ? 1 : 0
  })
  return counts.reduce((sum: number, count) => sum + count, 0)
}

const isWrongKind = ({ code, path }: ZodIssue): boolean =>
  path.length === 0 && (code === 'invalid_type' || code === 'invalid_value')

const branchExpectation = (first: ZodIssue | undefined, schema: JsonSchema | undefined): string[] =>
  first === undefined ? [] : [expectation(first, schema) ?? first.message]

/** `a whole number from 1 to 64`, where the schema asks for a number. */
function numberRange(schema: JsonSchema | undefined): string | undefined {
  if (schema?.type !== 'integer' && schema?.type !== 'number') return undefined
  const kind = schema.type === 'integer' ? 'a whole number' : 'a number'
  const { minimum, maximum, exclusiveMinimum } = schema
  if (minimum === undefined && maximum === undefined && typeof exclusiveMinimum === 'number') {
    return `${kind} over ${exclusiveMinimum}`
  }
  return minimum === undefined || maximum === undefined ? kind : `${kind} from ${minimum} to ${maximum}`
}

const nouns: Readonly<Record<string, string>> = {
  object: 'a map (name: value lines)',
  record: 'a map (name: value lines)',
  array: 'a list (lines that begin with "- ")',
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
  boolean: 'true or false',
}

function bound(origin: string, words: string, limit: number | bigint): string {
  if (origin === 'string') return `a text of ${words} ${limit} characters`
  if (origin === 'array') return `a list of ${words} ${limit} items`
  return `${words} ${limit}`
}

/** `a`, `a or b`, `a, b or c`. */
function listed(words: readonly string[]): string {
  if (words.length < 2) return words[0] ?? 'nothing'
  return `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`
}

/** What to write, where the slip is plain to see. */
function remedy(issue: ZodIssue, schema: JsonSchema | undefined): string | undefined {
  const { input } = issue
  if (issue.code === 'invalid_value' && typeof input === 'string') {
    const guess = nearest(input, issue.values.map(String))
    return guess === undefined ? undefined : `write ${guess}`
  }
  if (issue.code !== 'invalid_type') return undefined
  if (issue.expected === 'number' || issue.expected === 'int') return numberRemedy(input)
  if (issue.expected === 'string' && (typeof input === 'number' || typeof input === 'boolean')) {
    return `put quotes around it: "${input}"`
  }
  // `- http://host:8000` instead of `- url: http://host:8000`.
  const only = schema?.required?.length === 1 ? schema.required[0] : undefined
  if (issue.expected === 'object' && typeof input === 'string' && only !== undefined)
    return `write ${only}: ${input}`
  if (issue.expected === 'array' && input !== null && typeof input !== 'object') return `write [${input}]`
  return undefined
}

function numberRemedy(input: unknown): string | undefined {
  if (typeof input === 'string' && /^\d+$/.test(input)) return `write ${input} without quotes`
  if (typeof input === 'string' && /^[\d._]+\s*(?:ms|s|m|h|[KMG]i?B?)$/i.test(input)) {
    return 'write a plain number: milliseconds for times, bytes for sizes'
  }
  return undefined
}

const fixOf = (fix: unknown): { fix?: string } => (typeof fix === 'string' ? { fix } : {})
const lowerFirst = (text: string): string => text.charAt(0).toLowerCase() + text.slice(1)

/** The known name that a word was probably meant to be. A long text is no slip of a name. */
export function nearest(word: string, known: readonly string[]): string | undefined {
  return word === '' || word.length > 64 ? undefined : nearestNames(word, known, 1)[0]
}

/** A value in a few words: long ones are cut, since a message is one line. */
export function show(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  if (value === undefined || value === null) return 'nothing'
  if (typeof value === 'object') return 'a map'
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value)
  return text.length > 60 ? `${text.slice(0, 57)}…` : text
}
