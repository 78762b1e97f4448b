/** What was known of pods' times to the first byte when a logged decision was made. */
import { FEATURES, LatencyWeights } from '../../data/latency-weights.js'
import { MAX_SLOTS } from '../../data/native.js'
import type { DecisionRecord } from './schema.js'

export class LoggedLatency extends LatencyWeights {
  constructor() {
    super(MAX_SLOTS)
  }

  /** From here on it is that of the record; nothing is known of pods that are not in it. */
  show({ pods: { slot: slots, latency } }: DecisionRecord): void {
    this.weights.fill(Number.NaN)
    if (latency === undefined) return
    for (const [i, slot] of slots.entries()) {
      const at = slot * FEATURES
      this.weights[at] = latency.base[i] ?? Number.NaN
      this.weights[at + 1] = latency.per1000Tokens[i] ?? 0
      this.weights[at + 2] = latency.per10Requests[i] ?? 0
      this.weights[at + 3] = latency.perKvUse[i] ?? 0
    }
  }

  protected override refresh(): void {}
}
