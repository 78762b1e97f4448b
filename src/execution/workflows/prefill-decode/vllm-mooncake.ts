/**
 * vLLM with the MooncakeConnector: both pods get the request at once, under the name of one transfer, and decode fetches
 * the blocks from the prefill engine that it is told of. Which engine that is, the pod's bootstrap server says to the
 * control plane; a pod whose engine is not known takes no prefill (PodView).
 */
import { DEFAULT_TRANSFER } from '../../../data/pod-role.js'
import { executor } from '../../../decision/factories.js'
import { PhylloError } from '../../../errors.js'
import { answerFault } from '../../hand-off/fault.js'
import { bootstrapHost } from '../../hand-off/sglang.js'
import {
  type MooncakeTransfer,
  mooncakeDecodeBody,
  mooncakePrefillBody,
  mooncakeTransferId,
} from '../../hand-off/vllm-mooncake.js'
import { leg } from '../../leg-request.js'
import type { StepInput, Workflow } from '../../workflow.js'
import { workflow } from '../../workflow-builder.js'
import { choosing, choosingEnd, type ResolveWorkflow } from './options.js'
import { decodePart, prefillPart } from './steps.js'

/** `execute: prefill-decode/vllm-mooncake` of a profile. */
export const vllmMooncake = executor({
  name: 'prefill-decode/vllm-mooncake',
  summary:
    'vLLM with MooncakeConnector: the request goes to a prefill and a decode pod at once, as one transfer',
  options: choosing,
})

export function vllmMooncakeWorkflow(given: unknown, resolve: ResolveWorkflow): Workflow {
  const options = choosing.parse(given)
  // Both legs start together, so that what decode's first byte takes is the prefill too: the hand-off isn't learned.
  const { end } = choosingEnd('vllm-mooncake', options, resolve)
  return workflow('prefill-decode/vllm-mooncake')
    .together(
      {
        ...prefillPart(options),
        output: 'keep',
        // What answered was no engine: nothing will be sent, and decode would wait for it until its deadline.
        read: ({ body }) => answerFault(body),
        request: input => {
          const { ctx } = input
          return {
            ...leg(input),
            body: mooncakePrefillBody(ctx, ctx.request.kind, transfer(input)),
            asTokens: false,
          }
        },
      },
      {
        ...decodePart(options, options.prefillTimeoutMs),
        request: input => ({
          ...leg(input),
          body: mooncakeDecodeBody(input.ctx, transfer(input)),
          asTokens: false,
        }),
      },
    )
    .build(end)
}

/** Both legs make it of the same attempt, so that they agree. */
function transfer(input: StepInput<never, 'prefill'>): MooncakeTransfer {
  const { id, origin, rank = 0, kvTransfer = DEFAULT_TRANSFER } = input.podOf('prefill')
  const engineId = kvTransfer.engines?.get(rank)
  // Pods that lack it are in no pool; this one has lost it since.
  if (engineId === undefined) throw new PhylloError('no_pod', `the engine id of pod ${id} is not known`)
  return {
    id: mooncakeTransferId(input.attemptId),
    bootstrap: `http://${bootstrapHost(origin)}:${kvTransfer.bootstrapPort}`,
    engineId,
  }
}
