/**
 * vLLM with the NixlConnector: the prefill pod computes the prompt and answers where its blocks are; the decode pod
 * pulls them and answers the client. Decode is picked before (is it worth it?) and again after the prefill, when the
 * fleet may look different: with pulled blocks any decode pod will do.
 */
import { executor } from '../../../decision/factories.js'
import { slot } from '../../../decision/slot.js'
import { isHandOffFault } from '../../hand-off/fault.js'
import {
  type NixlHandOff,
  nixlDecodeBody,
  nixlPrefillBody,
  readNixlHandOff,
} from '../../hand-off/vllm-nixl.js'
import { leg } from '../../leg-request.js'
import type { Workflow } from '../../workflow.js'
import { workflow } from '../../workflow-builder.js'
import { chooserFor, choosing, fallbackOf, type ResolveWorkflow, retry, unfitFor, whole } from './options.js'

const handOff = slot('nixlHandOff').of<NixlHandOff>()

/** `execute: prefill-decode/vllm-nixl` of a profile. */
export const vllmNixl = executor({
  name: 'prefill-decode/vllm-nixl',
  summary: 'vLLM with NixlConnector: one pod computes the prompt, another pulls its KV blocks and answers',
  options: choosing,
})

export function vllmNixlWorkflow(given: unknown, resolve: ResolveWorkflow): Workflow {
  const options = choosing.parse(given)
  const { by, learn } = chooserFor(options)
  const direct = whole(options)
  return workflow('prefill-decode/vllm-nixl')
    .step({
      name: 'prefill',
      output: 'keep',
      onFailure: retry(options),
      profile: options.prefill,
      deadlineMs: options.prefillTimeoutMs,
      samples: 'prefill',
      writes: handOff,
      pool: (ctx, pods) => pods.stepPool(ctx.model, 'prefill'),
      request: input => {
        const { ctx } = input
        return { ...leg(input), body: nixlPrefillBody(ctx, ctx.request.kind), asTokens: false }
      },
      read: ({ body }, ctx) => {
        const found = readNixlHandOff(body)
        if (isHandOffFault(found)) return found.text
        ctx.set(handOff, found)
        return undefined
      },
    })
    .step(
      {
        name: 'decode',
        output: 'relay',
        onFailure: retry(options),
        profile: options.decode,
        deadlineMs: options.firstByteTimeoutMs,
        wholeDeadlineMs: options.answerTimeoutMs,
        samples: 'nothing',
        learn,
        holdsHead: true,
        prefilled: true,
        repick: true,
        reads: [handOff],
        pool: (ctx, pods) => pods.stepPool(ctx.model, 'decode'),
        request: input => {
          const { ctx } = input
          return { ...leg(input), body: nixlDecodeBody(ctx, ctx.get(handOff)), asTokens: false }
        },
      },
      // The blocks can be pulled once.
      0,
    )
    .build({
      choice: { step: 'decode', otherwise: direct, why: by.why, whyNot: by.whyNot },
      unfit: unfitFor('vllm-nixl'),
      fallback: fallbackOf(options, resolve, direct),
    })
}
