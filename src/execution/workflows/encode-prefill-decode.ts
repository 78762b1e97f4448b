/**
 * Chats with images, sounds or videos over three pods, as vLLM disaggregates them: one runs the encoder, one computes the
 * prompt with its embeddings, one pulls the KV blocks (NixlConnector) and answers. What has none of these takes two pods
 * or one.
 *
 * Encoding is a help and no need: where it fails, or no encode pod is there, the prefill pod encodes, and its answer to a
 * bad image is the client's.
 */
import { z } from 'zod'
import { executor } from '../../decision/factories.js'
import { slot } from '../../decision/slot.js'
import { editBody } from '../body-edit.js'
import { isHandOffFault } from '../hand-off/fault.js'
import {
  type EncodeHandOff,
  encodeBody,
  encodedEdits,
  hasMedia,
  readEncodeHandOff,
} from '../hand-off/vllm-encode.js'
import { nixlPrefillBody } from '../hand-off/vllm-nixl.js'
import { leg } from '../leg-request.js'
import { resumePolicy } from '../resume/options.js'
import type { Workflow } from '../workflow.js'
import { workflow } from '../workflow-builder.js'
import { choosing, type ResolveWorkflow, unfitFor } from './prefill-decode/options.js'
import { prefillPart } from './prefill-decode/steps.js'
import { handOff, nixlDecode, readHandOff, vllmNixlWorkflow } from './prefill-decode/vllm-nixl.js'

const encoded = slot('encodeHandOff').of<EncodeHandOff>()

const options = choosing.extend({
  // Encoders have no prefix cache that the router knows of: the least busy one is as good as any.
  encode: z
    .string()
    .min(1)
    .default('least-request')
    .describe('Profile that selects the pod that encodes. Its filter, score and pick count.'),
  // A picture of 4,096 patches takes an H100 some 100 ms; a request may bring dozens, and a video more.
  encodeTimeoutMs: z
    .int()
    .min(1)
    .max(3_600_000)
    .default(20_000)
    .describe('For the encoder to answer; then the next pod has its turn. In milliseconds.'),
  encodeAttempts: z
    .int()
    .min(1)
    .max(8)
    .default(2)
    .describe('Most encode pods tried; then the prefill pod encodes itself.'),
})

/** `execute: encode-prefill-decode` of a profile. */
export const encodePrefillDecode = executor({
  name: 'encode-prefill-decode',
  summary:
    'vLLM, chats with media: one pod encodes, one computes the prompt, one answers; text takes two or one',
  options,
})

export function encodePrefillDecodeWorkflow(given: unknown, resolve: ResolveWorkflow): Workflow {
  const chosen = options.parse(given)
  const { encode, encodeTimeoutMs, encodeAttempts, ...pair } = chosen
  const unfit = unfitFor('vllm-nixl')
  return workflow('encode-prefill-decode')
    .step({
      name: 'encode',
      output: 'keep',
      onFailure: { kind: 'retry', attempts: encodeAttempts },
      profile: encode,
      deadlineMs: encodeTimeoutMs,
      samples: 'nothing',
      // Its pod computes none of the prompt.
      prefilled: true,
      writes: encoded,
      pool: (ctx, pods) => pods.stepPool(ctx.model, 'encode'),
      request: input => {
        const { ctx } = input
        return { ...leg(input), body: encodeBody(ctx, ctx.request.kind), asTokens: false }
      },
      read: ({ body }, ctx) => {
        const found = readEncodeHandOff(body)
        if (isHandOffFault(found)) return found.text
        ctx.set(encoded, found)
        return undefined
      },
      skip: ctx => ctx.set(encoded, { params: undefined }),
    })
    .step({
      ...prefillPart(chosen),
      output: 'keep',
      reads: [encoded],
      writes: handOff,
      request: input => {
        const { ctx } = input
        const body = nixlPrefillBody(ctx, ctx.request.kind)
        return { ...leg(input), body: editBody(body, encodedEdits(ctx.get(encoded))), asTokens: false }
      },
      read: readHandOff,
    })
    .step(
      nixlDecode(chosen),
      // The blocks can be pulled once; the embeddings are still there.
      1,
    )
    .build({
      unfit: ctx =>
        unfit(ctx) ?? (hasMedia(ctx.body, ctx.request.kind) ? undefined : 'it has nothing to encode'),
      resume: resumePolicy(chosen.resume),
      fallback: vllmNixlWorkflow(pair, resolve),
    })
}
