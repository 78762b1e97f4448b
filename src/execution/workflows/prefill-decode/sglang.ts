/**
 * SGLang: both pods get the request at once and meet in a room on the prefill pod's bootstrap server. The client gets
 * decode's answer, prefill's is read away. What fails on one leg ends the other, which would wait for it in vain.
 */

import { DEFAULT_TRANSFER } from '../../../data/pod-role.js'
import { executor } from '../../../decision/factories.js'
import { PhylloError } from '../../../errors.js'
import { handOffRefusal } from '../../hand-off/refusals.js'
import {
  batchShape,
  bootstrapHost,
  MAX_BATCH,
  type SglangMeeting,
  sglangDecodeBody,
  sglangPrefillBody,
} from '../../hand-off/sglang.js'
import { roomsFor } from '../../hand-off/sglang-rooms.js'
import { leg } from '../../leg-request.js'
import { resumePolicy } from '../../resume/options.js'
import type { StepInput, Workflow } from '../../workflow.js'
import { workflow } from '../../workflow-builder.js'
import { always, fallbackOf, type ResolveWorkflow } from './options.js'
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
    .build({
      // Where no pod serves whole requests, what SGLang would rather not split is split all the same.
      unfit: ctx => (ctx.pool.length === 0 ? undefined : handOffRefusal('sglang', ctx, ctx.request.kind)),
      resume: resumePolicy(options.resume),
      fallback: fallbackOf(options, resolve),
    })
}

/** Both legs make it of the same attempt, so that they agree. */
function meeting(input: StepInput<never, 'prefill' | 'decode'>): SglangMeeting {
  const { ctx, attemptId } = input
  const prefill = input.podOf('prefill')
  const { size, batched } = batchShape(ctx, ctx.request.kind)
  // Where nothing else serves it such a one comes here too, and a few bytes of it ask for a room for each answer.
  if (size > MAX_BATCH)
    throw new PhylloError('invalid_request', `a batch of ${size} prompts; ${MAX_BATCH} at most are served`)
  return {
    host: bootstrapHost(prefill.origin),
    port: (prefill.kvTransfer ?? DEFAULT_TRANSFER).bootstrapPort,
    rooms: roomsFor(attemptId, Math.max(size, 1)),
    batched,
    prefillRank: prefill.rank,
    decodeRank: input.podOf('decode').rank,
  }
}
