/** All workflows by name. A new one is a file here and a line in this list. */
import type { AnyExecuteSpec, ExecuteFactory } from '../../decision/plugin.js'
import type { Workflow } from '../workflow.js'
import { cascade, cascadeWorkflow } from './cascade.js'
import { hedged, hedgedWorkflow } from './hedged.js'
import { generic, genericWorkflow } from './prefill-decode/generic.js'
import type { ResolveWorkflow } from './prefill-decode/options.js'
import { sglang, sglangWorkflow } from './prefill-decode/sglang.js'
import { vllmNixl, vllmNixlWorkflow } from './prefill-decode/vllm-nixl.js'
import { vllmP2pNccl, vllmP2pNcclWorkflow } from './prefill-decode/vllm-p2p-nccl.js'
import { single, singleWorkflow } from './single.js'

interface Entry {
  /** What a profile writes under `execute`. */
  readonly plugin: ExecuteFactory
  /** `resolve`: makes the workflows that this one names. */
  make(options: unknown, resolve: ResolveWorkflow): Workflow
}

const entries: readonly Entry[] = [
  { plugin: single, make: singleWorkflow },
  { plugin: cascade, make: cascadeWorkflow },
  { plugin: hedged, make: hedgedWorkflow },
  { plugin: vllmNixl, make: vllmNixlWorkflow },
  { plugin: vllmP2pNccl, make: vllmP2pNcclWorkflow },
  { plugin: sglang, make: sglangWorkflow },
  { plugin: generic, make: genericWorkflow },
]

/** For the plugin registry: documentation, JSON Schema, YAML. */
export const executors: readonly ExecuteFactory[] = entries.map(entry => entry.plugin)

/** The workflow that a profile names. Throws an Error for a name that is not here; profiles are checked at load. */
export function workflowFor(spec: Pick<AnyExecuteSpec, 'name' | 'options'>): Workflow {
  return make(spec.name, spec.options, [])
}

/** `within`: the workflows that name this one, so that none falls back to itself. */
function make(name: string, options: unknown, within: readonly string[]): Workflow {
  const entry = entries.find(({ plugin }) => plugin.pluginName === name)
  if (entry === undefined) throw new Error(`no workflow is named '${name}'`)
  const chain = [...within, name]
  if (within.includes(name))
    throw new Error(`workflow '${within[0]}' falls back to itself: ${chain.join(' → ')}`)
  return entry.make(options, other => make(other, {}, chain))
}
