/**
 * vLLM with the NixlConnector: the prefill pod computes the prompt and answers where its blocks are; the decode pod
 * pulls them and answers the client. Decode is picked before (is it worth it?) and again after the prefill, when the
 * fleet may look different: with pulled blocks any decode pod will do.
 */
import { executor } from '../../../decision/factories.js'
import { slot, type Writer } from '../../../decision/slot.js'
import { isHandOffFault } from '../../hand-off/fault.js'
import {
  type NixlHandOff,
  nixlDecodeBody,
  nixlPrefillBody,
  readNixlHandOff,
} from '../../hand-off/vllm-nixl.js'
import { leg } from '../../leg-request.js'
import type { StepInput, StepRequest, StepResult, Workflow } from '../../workflow.js'
import { workflow } from '../../workflow-builder.js'
import { choosing, choosingEnd, type PairOptions, type ResolveWorkflow } from './options.js'
import { decodePart, prefillPart } from './steps.js'

/** What the prefill leaves for the decode step. */
export const handOff = slot('nixlHandOff').of<NixlHandOff>()

/** `execute: prefill-decode/vllm-nixl` of a profile. */
export const vllmNixl = executor({
  name: 'prefill-decode/vllm-nixl',
  summary: 'vLLM with NixlConnector: one pod computes the prompt, another pulls its KV blocks and answers',
  options: choosing,
})

export function vllmNixlWorkflow(given: unknown, resolve: ResolveWorkflow): Workflow {
  const options = choosing.parse(given)
  const { learn, end } = choosingEnd('vllm-nixl', options, resolve)
  return workflow('prefill-decode/vllm-nixl')
    .step({
      ...prefillPart(options),
      output: 'keep',
      writes: handOff,
      request: input => {
        const { ctx } = input
        return { ...leg(input), body: nixlPrefillBody(ctx, ctx.request.kind), asTokens: false }
      },
      read: readHandOff,
    })
    .step(
      { ...nixlDecode(options), learn },
      // The blocks can be pulled once.
      0,
    )
    .build(end)
}

/** `read` of a prefill step that writes `handOff`. */
export function readHandOff({ body }: StepResult, ctx: Writer<never, typeof handOff>): string | undefined {
  const found = readNixlHandOff(body)
  if (isHandOffFault(found)) return found.text
  ctx.set(handOff, found)
  return undefined
}

/** The step that pulls what `handOff` tells of. */
export const nixlDecode = (options: PairOptions) =>
  ({
    ...decodePart(options),
    repick: true,
    reads: [handOff],
    request: (input: StepInput<typeof handOff>): StepRequest => {
      const { ctx } = input
      return { ...leg(input), body: nixlDecodeBody(ctx, ctx.get(handOff)), asTokens: false }
    },
  }) as const
