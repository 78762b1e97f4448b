/** The short way past a hand-off: one pod gets the whole request. When it is taken by a threshold, and what it is. */
import { NO_TICKET } from '../../../data/native.js'
import { wholeRequest } from '../../leg-request.js'
import type { ChoiceInput, Workflow } from '../../workflow.js'
import { workflow } from '../../workflow-builder.js'

/**
 * Uncached tokens up to which a prompt is computed where it is decoded though prefills are kept apart: the threshold that
 * is fixed unless told otherwise.
 */
export const SHORT = 256

/** Why a prompt is not sent to a prefill pod for being short; undefined: it is not. */
export const whyShort = (uncachedTokens: number, threshold: number): string | undefined =>
  uncachedTokens > threshold
    ? undefined
    : `${uncachedTokens} uncached tokens, and up to ${threshold} are computed where they are decoded`

/** The `why` of a choice by a threshold that is fixed. */
export const byThreshold =
  (threshold: number) =>
  ({ ctx, uncachedTokens }: ChoiceInput): string | undefined =>
    // Without a ticket nobody has counted them.
    ctx.ticket === NO_TICKET ? undefined : whyShort(uncachedTokens, threshold)

/** The whole request on one pod, of those that serve it. `profile`: that of the request unless given. */
export const wholeOn = (profile: string | undefined, attempts: number): Workflow =>
  workflow('whole')
    .step({
      name: 'serve',
      output: 'relay',
      onFailure: { kind: 'retry', attempts },
      profile,
      // The choice has picked before, perhaps without expecting the prompt in the pod's cache.
      repick: true,
      request: wholeRequest,
    })
    .build()
