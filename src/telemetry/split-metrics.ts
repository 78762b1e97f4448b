/** Metrics of how each model's pods are divided into prefill and decode, and of how they should be. */
import { Counter, type Registry } from 'prom-client'
import { Series } from './series.js'

interface BySteps {
  readonly prefill: number | undefined
  readonly decode: number | undefined
}

/** A model whose requests can be split. Pods are those that take requests at present. */
export interface ModelSplit {
  readonly model: string
  /** Pods that take this step alone. */
  readonly prefill: number
  readonly decode: number
  /** Pods that take both. */
  readonly both: number
  /** Mean over the window; undefined: not known. In pods. */
  readonly demand: BySteps
  /** Demand over the pods that take the step: 1 is as much as they can do. */
  readonly pressure: BySteps
  /** Undefined: `whyNone` says why. */
  readonly recommended:
    | { readonly ideal: number; readonly prefill: number; readonly decode: number }
    | undefined
  readonly whyNone: string | undefined
}

/** Pods that were re-assigned since the start, by what they take since then, and why. */
export interface Reassigned {
  readonly to: string
  readonly reason: string
  readonly count: number
}

export interface SplitSource {
  splits(): readonly ModelSplit[]
  reassigned(): readonly Reassigned[]
}

export function splitMetrics(registry: Registry, source: SplitSource): void {
  const models = new Series(
    registry,
    'model',
    () => source.splits(),
    ({ model }) => model,
  )
  models.gauges(
    ['phyllo_prefill_pods', 'Pods of the model that take prefill steps alone.', split => split.prefill],
    ['phyllo_decode_pods', 'Pods of the model that take decode steps alone.', split => split.decode],
    ['phyllo_both_pods', 'Pods of the model that take prefill and decode steps.', split => split.both],
    [
      'phyllo_prefill_pressure',
      'Prompt tokens that arrive and wait, over what the pods that prefill can compute; 1 is all they can.',
      split => split.pressure.prefill,
    ],
    [
      'phyllo_decode_pressure',
      'KV cache that decoding takes and waits for, over what the pods that decode have; 1 is all of it.',
      split => split.pressure.decode,
    ],
    [
      'phyllo_recommended_prefill_pods',
      'Prefill pods that would give both steps the same pressure; no series while nothing is known.',
      split => split.recommended?.prefill,
    ],
    [
      'phyllo_recommended_decode_pods',
      'Decode pods beside those; no series while nothing is known.',
      split => split.recommended?.decode,
    ],
  )
  new Counter({
    name: 'phyllo_reassignments_total',
    help: 'Pods of role both that were given other steps, by which, and why: by the pressure, because too few pods took a step (bounds), or because it was switched off.',
    labelNames: ['to', 'reason'],
    registers: [registry],
    collect() {
      this.reset()
      for (const { to, reason, count } of source.reassigned()) this.inc({ to, reason }, count)
    },
  })
}
