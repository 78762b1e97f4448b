/**
 * SGLang: both pods get the request at once and meet in a room on the prefill pod's bootstrap server. The client gets
 * decode's answer, prefill's is read away. What fails on one leg ends the other, which would wait for it in vain.
 */

import { DEFAULT_TRANSFER } from '../../../data/pod-role.js'
import { executor } from '../../../decision/factories.js'
import {
  batchShape,
  bootstrapHost,
  type SglangMeeting,
  sglangDecodeBody,
  sglangPrefillBody,
} from '../../hand-off/sglang.js'
import { roomsFor } from '../../hand-off/sglang-rooms.js'
import { leg } from '../../leg-request.js'
import type { StepInput, Workflow } from '../../workflow.js'
import { workflow } from '../../workflow-builder.js'
import { always, pairEnd, type ResolveWorkflow } from './options.js'
import { decodePart, prefillPart } from './steps.js'

/** `execute: prefill-decode/sglang` of a profile. */
export const sglang = executor({
  name: 'prefill-decode/sglang',
  summary: 'SGLang: the request goes to a prefill and a decode pod at once, which meet by a bootstrap room',
  options: always,
})

export function sglangWorkflow(given: unknown, resolve: ResolveWorkflow): Workflow {
  const options = always.parse(given)
  return workflow('prefill-decode/sglang')
    .together(
      {
        ...prefillPart(options),
        output: 'drain',
        request: input => ({
          ...leg(input),
          body: sglangPrefillBody(input.ctx, meeting(input)),
          asTokens: false,
        }),
      },
      {
        ...decodePart(options, options.prefillTimeoutMs),
        request: input => ({
          ...leg(input),
          body: sglangDecodeBody(input.ctx, meeting(input)),
          asTokens: false,
        }),
      },
    )
    .build(pairEnd('sglang', options, resolve))
}

/** Both legs make it of the same attempt, so that they agree. */
function meeting(input: StepInput<never, 'prefill' | 'decode'>): SglangMeeting {
  const { ctx, attemptId } = input
  const prefill = input.podOf('prefill')
  const { size, batched } = batchShape(ctx, ctx.request.kind)
  return {
    host: bootstrapHost(prefill.origin),
    port: (prefill.kvTransfer ?? DEFAULT_TRANSFER).bootstrapPort,
    rooms: roomsFor(attemptId, size),
    batched,
    prefillRank: prefill.rank,
    decodeRank: input.podOf('decode').rank,
  }
}
