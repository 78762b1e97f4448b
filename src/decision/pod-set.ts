/** What holds of each pod by what is known of it for as long as the fleet stays the same: labels, mostly. */
import { MAX_SLOTS } from '../data/native.js'
import type { PodInfo, PodView } from '../data/pod-view.js'

/** A number a pod, by slot; made anew when the fleet changes. */
export class PodValues {
  readonly #values = new Float64Array(MAX_SLOTS)
  #version = -1

  constructor(
    private readonly pods: PodView,
    private readonly valueFor: (pod: PodInfo) => number,
  ) {}

  current(): Float64Array {
    if (this.pods.version !== this.#version) {
      this.#version = this.pods.version
      for (const slot of this.pods.all.slots) {
        const pod = this.pods.bySlot(slot)
        this.#values[slot] = pod === undefined ? 0 : this.valueFor(pod)
      }
    }
    return this.#values
  }
}

/** 1 for the pods of which something holds, 0 for the others. */
export class PodSet extends PodValues {
  constructor(pods: PodView, holds: (pod: PodInfo) => boolean) {
    super(pods, pod => (holds(pod) ? 1 : 0))
  }
}
