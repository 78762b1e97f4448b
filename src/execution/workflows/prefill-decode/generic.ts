/**
 * Two steps for engines with a transfer or a shared cache of their own: the prompt is computed on one pod, then the
 * same prompt goes to another with a hint at who holds its blocks. A hint that is wrong, or that nobody reads, costs a
 * cache miss and no more.
 */
import { z } from 'zod'
import { executor } from '../../../decision/factories.js'
import { slot } from '../../../decision/slot.js'
import {
  genericDecodeBody,
  genericDecodeHeaders,
  genericPrefillBody,
  type PrefillHint,
} from '../../hand-off/generic.js'
import { leg } from '../../leg-request.js'
import type { Workflow } from '../../workflow.js'
import { workflow } from '../../workflow-builder.js'
import { choosing, choosingEnd, type ResolveWorkflow } from './options.js'
import { decodePart, prefillPart } from './steps.js'

const hint = slot('prefillHint').of<PrefillHint>()

const options = choosing.extend({
  hintField: z
    .boolean()
    .default(false)
    .describe(
      'Put the hint into the body too, for engines that take unknown fields. It is always in a header.',
    ),
})

/** `execute: prefill-decode/generic` of a profile. */
export const generic = executor({
  name: 'prefill-decode/generic',
  summary: 'one pod computes the prompt, another answers, with a hint at who holds the KV blocks',
  options,
})

export function genericWorkflow(given: unknown, resolve: ResolveWorkflow): Workflow {
  const chosen = options.parse(given)
  const { learn, end } = choosingEnd('generic', chosen, resolve)
  return workflow('prefill-decode/generic')
    .step({
      ...prefillPart(chosen),
      output: 'keep',
      writes: hint,
      request: input => {
        const { ctx } = input
        return { ...leg(input), body: genericPrefillBody(ctx, ctx.request.kind), asTokens: false }
      },
      read: ({ pod }, ctx) => {
        ctx.set(hint, { pod: pod.id, origin: pod.origin })
        return undefined
      },
    })
    .step({
      ...decodePart(chosen, chosen.prefillTimeoutMs),
      learn,
      repick: true,
      reads: [hint],
      request: input => {
        const { ctx } = input
        const given = { ...ctx.get(hint), cache: input.cacheHint() }
        return {
          ...leg(input, headers => genericDecodeHeaders(headers, given)),
          body: genericDecodeBody(ctx, chosen.hintField ? given : undefined),
          asTokens: false,
        }
      },
    })
    .build(end)
}
