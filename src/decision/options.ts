/** Checking a plugin's options: always against its schema, and never with an unknown option let through. */
import { z } from 'zod'

/** One fault in a plugin's options. `path` leads to it from the options object. */
export interface OptionIssue {
  readonly path: readonly (string | number)[]
  readonly message: string
}

/** Options that their plugin refuses. Thrown when a profile is built, never on a request. */
export class InvalidOptions extends Error {
  override readonly name = 'InvalidOptions'

  constructor(
    readonly plugin: string,
    readonly issues: readonly OptionIssue[],
  ) {
    const listed = issues.map(({ path, message }) =>
      path.length === 0 ? message : `${path.join('.')}: ${message}`,
    )
    super(`plugin '${plugin}': ${listed.join('; ')}`)
  }
}

/** What every scorer has besides its own options. */
export const weightOption = z
  .number()
  .positive()
  .default(1)
  .describe(
    'How much the score counts in the weighted sum of all scorers, over 0: beside costs, what a score of 1 is worth in their unit; of a cost, what it is multiplied by. No unit.',
  )

/** The checked options with defaults filled in; throws `InvalidOptions`. `null`, as YAML gives for `name:`, is none. */
export function checkOptions<Shape extends z.ZodRawShape>(
  plugin: string,
  schema: z.ZodObject<Shape>,
  given: unknown,
): z.output<z.ZodObject<Shape>> {
  const result = schema.safeParse(given ?? {})
  if (result.success) return result.data
  const known = Object.keys(schema.shape)
  throw new InvalidOptions(
    plugin,
    result.error.issues.flatMap(issue => toIssues(issue, known)),
  )
}

/** Zod reports unknown keys of an object as one issue at the object; here each gets its own, at its own path. */
function toIssues(issue: z.core.$ZodIssue, known: readonly string[]): OptionIssue[] {
  const path = issue.path.map(part => (typeof part === 'number' ? part : String(part)))
  if (issue.code === 'invalid_union') return [{ path, message: eachMessage(issue) }]
  if (issue.code !== 'unrecognized_keys') return [{ path, message: issue.message }]
  const options = known.length === 0 ? 'there are none' : `options: ${known.join(', ')}`
  return issue.keys.map(key => ({ path: [...path, key], message: `unknown option '${key}' (${options})` }))
}

/** What each form that the value may have says of it; zod's own message is that none fits. */
function eachMessage({ errors, message }: z.core.$ZodIssueInvalidUnion): string {
  const said = new Set(errors.flatMap(([first]) => (first === undefined ? [] : [first.message])))
  return said.size === 0 ? message : [...said].join(', or: ')
}
