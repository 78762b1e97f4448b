/** What the prefill and the decode step have in common in all protocols: pools, profiles, pods tried, deadlines. */
import type { PodView } from '../../../data/pod-view.js'
import type { StepContext } from '../../workflow.js'
import type { PairOptions } from './options.js'

const retry = ({ attempts }: PairOptions) => ({ kind: 'retry', attempts }) as const

/** To be spread into a step, with its output and its request. */
export const prefillPart = (options: PairOptions) =>
  ({
    name: 'prefill',
    onFailure: retry(options),
    profile: options.prefill,
    deadlineMs: options.prefillTimeoutMs,
    samples: 'prefill',
    pool: ({ model }: StepContext, pods: PodView) => pods.stepPool(model, 'prefill'),
  }) as const

/**
 * To be spread into a step, with its request. `prefillMs`: where the prompt may still be computed when it is sent, how
 * long that may take; the pod's own time begins behind it.
 */
export const decodePart = (options: PairOptions, prefillMs = 0) =>
  ({
    name: 'decode',
    output: 'relay',
    onFailure: retry(options),
    profile: options.decode,
    deadlineMs: prefillMs + options.firstByteTimeoutMs,
    wholeDeadlineMs: prefillMs + options.answerTimeoutMs,
    samples: 'nothing',
    holdsHead: true,
    prefilled: true,
    pool: ({ model }: StepContext, pods: PodView) => pods.stepPool(model, 'decode'),
  }) as const
