/** The schema of profiles, made from the registry, for editors: names and options complete as one types. */
import { z } from 'zod'
import type { AnyFactory, Stage } from './plugin.js'
import { type PluginRegistry, plugins } from './registry.js'

/**
 * Zod's schema of one profile; `z.toJSONSchema(schema, { io: 'input' })` makes the JSON Schema. It checks names and
 * options. Whether the slots are supplied, and with which message a fault is told, is `profileFromConfig`'s part.
 */
export function configSchema(registry: PluginRegistry = plugins) {
  const entry = (stage: Stage) => stageSchema([...registry[stage].values()])
  return z
    .strictObject({
      prepare: z
        .array(entry('prepare'))
        .optional()
        .describe('What must be known of the request, in this order.'),
      filter: z
        .array(entry('filter'))
        .optional()
        .describe('Which pods may serve the request, in this order.'),
      score: z
        .array(entry('score'))
        .optional()
        .describe('What makes a pod better: 0..1 each, summed by weight.'),
      pick: entry('pick').describe('How one pod is picked of those left.'),
      execute: entry('execute').describe('The workflow that uses the pod.'),
    })
    .describe('A routing profile.')
}

/** A plugin of one stage: its name alone where no option is required, or a map from its name to its options. */
function stageSchema(factories: readonly AnyFactory[]): z.ZodType {
  // A stage nobody has a plugin for: JSON Schema knows no empty union.
  if (factories.length === 0) return z.never()
  return z.union(
    factories.flatMap(factory => {
      const { pluginName: name, schema, summary } = factory
      const needsOptions = !schema.safeParse({}).success
      const withOptions = z
        .strictObject({ [name]: needsOptions ? schema : schema.nullish() })
        .describe(summary)
      return needsOptions ? [withOptions] : [z.literal(name).describe(summary), withOptions]
    }),
  )
}
