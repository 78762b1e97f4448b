/**
 * vLLM with the P2pNcclConnector: the prefill pod pushes its blocks to the decode pod, whose address it reads in the
 * request's id. So both pods are picked before either is sent to, and neither can be exchanged alone.
 */
import { DEFAULT_TRANSFER } from '../../../data/pod-role.js'
import { executor } from '../../../decision/factories.js'
import { PhylloError } from '../../../errors.js'
import { answerFault } from '../../hand-off/fault.js'
import { type P2pPair, p2pDecodeBody, p2pHeaders, p2pPrefillBody } from '../../hand-off/vllm-p2p-nccl.js'
import { leg } from '../../leg-request.js'
import type { StepInput, Workflow } from '../../workflow.js'
import { workflow } from '../../workflow-builder.js'
import { always, pairEnd, type ResolveWorkflow } from './options.js'
import { decodePart, prefillPart } from './steps.js'

/** `execute: prefill-decode/vllm-p2p-nccl` of a profile. */
export const vllmP2pNccl = executor({
  name: 'prefill-decode/vllm-p2p-nccl',
  summary:
    'vLLM with P2pNcclConnector: one pod computes the prompt and pushes its KV blocks to the one that answers',
  options: always,
})

export function vllmP2pNcclWorkflow(given: unknown, resolve: ResolveWorkflow): Workflow {
  const options = always.parse(given)
  return workflow('prefill-decode/vllm-p2p-nccl', { ahead: ['prefill', 'decode'] })
    .step({
      ...prefillPart(options),
      output: 'keep',
      request: input => {
        const { ctx } = input
        return { ...head(input), body: p2pPrefillBody(ctx, ctx.request.kind), asTokens: false }
      },
      // What answered was no engine: nothing has been pushed, and decode would wait for it until its deadline.
      read: ({ body }) => answerFault(body),
    })
    .step(
      {
        ...decodePart(options),
        request: input => ({ ...head(input), body: p2pDecodeBody(input.ctx), asTokens: false }),
      },
      // Another decode pod has been pushed nothing.
      0,
    )
    .build(pairEnd('vllm-p2p-nccl', options, resolve))
}

const head = (input: StepInput<never, 'prefill' | 'decode'>) =>
  leg(input, headers => p2pHeaders(headers, pairOf(input)))

function pairOf(input: StepInput<never, 'prefill' | 'decode'>): P2pPair {
  return { prefill: addressOf(input, 'prefill'), decode: addressOf(input, 'decode'), uuid: input.attemptId }
}

function addressOf(input: StepInput<never, 'prefill' | 'decode'>, step: 'prefill' | 'decode'): string {
  const { id, kvTransfer = DEFAULT_TRANSFER } = input.podOf(step)
  if (kvTransfer.address !== undefined) return kvTransfer.address
  // Configured pods are checked when the file is loaded; this one came from elsewhere.
  throw new PhylloError('no_pod', `pod ${id} has no kvTransfer.address, which P2pNcclConnector needs`)
}
