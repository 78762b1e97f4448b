/** JSON Schemas (draft 2020-12) of what may be written in a file, and looking up what a path of it may hold. */
import { z } from 'zod'
import type { ConfigPath } from './issue.js'

export type JsonSchema = z.core.JSONSchema.JSONSchema

/** Describes what a schema takes. */
export const toJsonSchema = (schema: z.ZodType): JsonSchema =>
  z.toJSONSchema(schema, { io: 'input', target: 'draft-2020-12' })

/** The part of a schema that describes a path; undefined where none does. */
export function schemaAt(path: ConfigPath, root: JsonSchema): JsonSchema | undefined {
  let schema: JsonSchema | undefined = root
  for (const part of path) schema = schema === undefined ? undefined : below(schema, part)
  return schema
}

/** Names that a map may hold, in any of its forms. */
export const keysOf = ({ properties, anyOf = [] }: JsonSchema): string[] => [
  ...Object.keys(properties ?? {}),
  ...anyOf.flatMap(keysOf),
]

function below(schema: JsonSchema, part: string | number): JsonSchema | undefined {
  const { properties, items, additionalProperties, anyOf } = schema
  const next = typeof part === 'number' ? items : (properties?.[part] ?? additionalProperties)
  if (typeof next === 'object' && !Array.isArray(next)) return next
  // Of several forms, the one that has such a part: `kvEvents` is a text or a map.
  return anyOf?.map(form => below(form, part)).find(found => found !== undefined)
}
