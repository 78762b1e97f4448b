/** All workflows by name. A new one is a file here and a line in this list. */
import type { AnyExecuteSpec, ExecuteFactory } from '../../decision/plugin.js'
import type { Workflow } from '../workflow.js'
import { single, singleWorkflow } from './single.js'

interface Entry {
  /** What a profile writes under `execute`. */
  readonly plugin: ExecuteFactory
  make(options: unknown): Workflow
}

const entries: readonly Entry[] = [{ plugin: single, make: singleWorkflow }]

/** For the plugin registry: documentation, JSON Schema, YAML. */
export const executors: readonly ExecuteFactory[] = entries.map(entry => entry.plugin)

/** The workflow that a profile names. Throws an Error for a name that is not here; profiles are checked at load. */
export function workflowFor(spec: AnyExecuteSpec): Workflow {
  const entry = entries.find(({ plugin }) => plugin.pluginName === spec.name)
  if (entry === undefined) throw new Error(`no workflow is named '${spec.name}'`)
  return entry.make(spec.options)
}
