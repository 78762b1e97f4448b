/** The short way past a hand-off: one pod gets the whole request. When it is taken by a threshold, and what it is. */
import { NO_TICKET } from '../../../data/native.js'
import { wholeRequest } from '../../leg-request.js'
import type { ChoiceInput, Step, Workflow } from '../../workflow.js'
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

/** How the whole request is served by one pod. */
export interface WholeWay extends Pick<Step, 'profile' | 'deadlineMs' | 'wholeDeadlineMs'> {
  readonly attempts: number
}

/**
 * The whole request on one pod, of those that serve it. It has deadlines where its workflow's steps have: a pod that hangs
 * would otherwise hold what was short, or what had no pods to be split over, as long as the time-out of all requests.
 */
export const wholeOn = ({ attempts, profile, deadlineMs, wholeDeadlineMs }: WholeWay): Workflow =>
  workflow('whole')
    .step({
      name: 'serve',
      output: 'relay',
      onFailure: { kind: 'retry', attempts },
      profile,
      deadlineMs,
      wholeDeadlineMs,
      // The choice has picked before, perhaps without expecting the prompt in the pod's cache.
      repick: true,
      request: wholeRequest,
    })
    .build()
