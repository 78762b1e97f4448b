/** The configuration's JSON Schema (draft 2020-12), for editors and for looking up what a path may hold. */
import { configSchema as profileSchema } from '../decision/config-schema.js'
import { knownPlugins } from '../server/profiles.js'
import { type JsonSchema, toJsonSchema } from '../yaml/json-schema.js'
import { configSchema } from './schema.js'

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
  const execute = profile.properties?.['execute']
  // Workflows of the file itself have names that nobody knows before.
  if (typeof execute === 'object')
    execute.anyOf?.push({ type: 'string', description: 'A workflow of this file.' })
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
