// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references to environment variables look like this
/** The JSON Schema as editors need it: what the file may hold *before* environment variables are put in. */
import type { JsonSchema } from '../yaml/json-schema.js'
import { configJsonSchema } from './json-schema.js'

const REFERENCE = { $ref: '#/$defs/environment' }

/** The schema that `phyllo schema` prints. */
export function editorSchema(): JsonSchema {
  const environment = {
    type: 'string',
    pattern: '\\$\\{',
    description: 'A value with an environment variable: ${NAME} or ${NAME:-fallback}.',
  } as const
  const schema = withReferences(configJsonSchema())
  return { ...schema, $defs: { ...schema.$defs, environment } }
}

/** Lets `${PORT}` stand wherever a number, a boolean or one of some values is wanted; texts may hold it anyway. */
function withReferences(schema: JsonSchema): JsonSchema {
  const { type, description, default: fallback, ...rest } = schema
  if (rest.enum !== undefined || type === 'integer' || type === 'number' || type === 'boolean') {
    const kept = {
      ...(description === undefined ? {} : { description }),
      ...(fallback === undefined ? {} : { default: fallback }),
    }
    return { ...kept, anyOf: [{ ...(type === undefined ? {} : { type }), ...rest }, REFERENCE] }
  }
  const copy: JsonSchema = { ...schema }
  const { properties, items, additionalProperties, anyOf } = schema
  if (properties !== undefined) {
    copy.properties = Object.fromEntries(
      Object.entries(properties).map(([key, field]) => [key, below(field)]),
    )
  }
  if (items !== undefined && !Array.isArray(items)) copy.items = below(items)
  if (additionalProperties !== undefined) copy.additionalProperties = below(additionalProperties)
  if (anyOf !== undefined) copy.anyOf = anyOf.map(withReferences)
  return copy
}

const below = <Schema extends JsonSchema | boolean>(schema: Schema): JsonSchema | boolean =>
  typeof schema === 'object' ? withReferences(schema) : schema
