/** All workflows by name. A new one is a file here and a line in this list. */
import { executor } from '../../decision/factories.js'
import type { AnyExecuteSpec, ExecuteFactory } from '../../decision/plugin.js'
import type { Workflow } from '../workflow.js'
import { cascade, cascadeWorkflow } from './cascade.js'
import { workflowOf } from './described/build.js'
import type { DescribedWorkflows } from './described/schema.js'
import { encodePrefillDecode, encodePrefillDecodeWorkflow } from './encode-prefill-decode.js'
import { hedged, hedgedWorkflow } from './hedged.js'
import { generic, genericWorkflow } from './prefill-decode/generic.js'
import type { ResolveWorkflow } from './prefill-decode/options.js'
import { sglang, sglangWorkflow } from './prefill-decode/sglang.js'
import { vllmMooncake, vllmMooncakeWorkflow } from './prefill-decode/vllm-mooncake.js'
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
  { plugin: vllmMooncake, make: vllmMooncakeWorkflow },
  { plugin: sglang, make: sglangWorkflow },
  { plugin: generic, make: genericWorkflow },
  { plugin: encodePrefillDecode, make: encodePrefillDecodeWorkflow },
]

/** For the plugin registry: documentation, JSON Schema, YAML. */
export const executors: readonly ExecuteFactory[] = entries.map(entry => entry.plugin)

/** Those, and the configured workflows, so that a profile can name them too. */
export const executorsWith = (described: DescribedWorkflows): readonly ExecuteFactory[] => [
  ...executors,
  ...Object.keys(described).map(name =>
    executor({ name, summary: 'a workflow of the configuration file; its options stand there' }),
  ),
]

/**
 * The workflow that a profile names. Throws an Error for a name that is neither here nor among the configured ones, which
 * are `described`; profiles are checked at load.
 */
export function workflowFor(
  spec: Pick<AnyExecuteSpec, 'name' | 'options'>,
  described: DescribedWorkflows = {},
): Workflow {
  return make(spec.name, spec.options, described, [])
}

/** `within`: the workflows that name this one, so that none falls back to itself. */
function make(
  name: string,
  options: unknown,
  described: DescribedWorkflows,
  within: readonly string[],
): Workflow {
  const chain = [...within, name]
  if (within.includes(name))
    throw new Error(`workflow '${within[0]}' falls back to itself: ${chain.join(' → ')}`)
  const resolve: ResolveWorkflow = other => make(other, {}, described, chain)
  const entry = entries.find(({ plugin }) => plugin.pluginName === name)
  if (entry !== undefined) return entry.make(options, resolve)
  const own = Object.entries(described).find(([known]) => known === name)?.[1]
  if (own === undefined) throw new Error(`no workflow is named '${name}'`)
  return workflowOf(name, own, resolve)
}
