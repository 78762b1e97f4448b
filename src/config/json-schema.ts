/** The configuration's JSON Schema (draft 2020-12), for editors and for looking up what a path may hold. */
import { z } from 'zod'
import { configSchema as profileSchema } from '../decision/config-schema.js'
import { knownPlugins } from '../server/profiles.js'
import type { ConfigPath } from './issue.js'
import { configSchema } from './schema.js'

export type JsonSchema = z.core.JSONSchema.JSONSchema

const DIALECT = 'https://json-schema.org/draft/2020-12/schema'
let cached: JsonSchema | undefined

/** Describes what may be written in the file: names with their descriptions, bounds and defaults. */
export function configJsonSchema(): JsonSchema {
  cached ??= build()
  return cached
}

function build(): JsonSchema {
  const schema = toJsonSchema(configSchema)
  const { $schema: _dialect, ...profile } = toJsonSchema(profileSchema(knownPlugins()))
  const profiles = schema.properties?.['profiles']
  // The schema leaves profiles to `profileFromConfig`, whose messages know more than zod's; editors get all of it.
  const described = typeof profiles === 'object' ? { ...profiles, additionalProperties: profile } : profile
  return {
    ...schema,
    $schema: DIALECT,
    title: 'Phyllo configuration',
    // A place for anchors; see load.ts.
    patternProperties: { '^x-': {} },
    properties: { ...schema.properties, profiles: described },
  }
}

export const toJsonSchema = (schema: z.ZodType): JsonSchema =>
  z.toJSONSchema(schema, { io: 'input', target: 'draft-2020-12' })

/** The part of a schema that describes a path; undefined where none does. */
export function schemaAt(path: ConfigPath, root: JsonSchema = configJsonSchema()): JsonSchema | undefined {
  let schema: JsonSchema | undefined = root
  for (const part of path) schema = schema === undefined ? undefined : below(schema, part)
  return schema
}

function below(schema: JsonSchema, part: string | number): JsonSchema | undefined {
  const { properties, items, additionalProperties } = schema
  const next = typeof part === 'number' ? items : (properties?.[part] ?? additionalProperties)
  return typeof next === 'object' && !Array.isArray(next) ? next : undefined
}
