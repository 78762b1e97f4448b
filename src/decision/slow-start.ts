/**
 * Slow start for pickers that look at no loads: a new pod gets the part of its turns that its warmth is of the warmest
 * candidate's (Envoy's slow start for round robin scales weights in the same way). Where all are equally new, all is as
 * if none were.
 */
import type { LaneView } from '../data/lane-view.js'
import type { Pool } from '../data/pod-view.js'
import type { Dice } from './dice.js'

/** Warmth goes from 0.1 up, so that a thousandth is fine enough. */
const SIDES = 1000

export class SlowStart {
  readonly #warmth: Float64Array
  readonly #warmest = new Float64Array(1)

  constructor(
    lane: LaneView,
    private readonly dice: Dice,
  ) {
    this.#warmth = lane.warmth
  }

  /** To be called before `admits` is asked about any of these pods. */
  begin(pods: Pool): void {
    let warmest = 0
    for (let i = 0; i < pods.length; i++) {
      const warmth = this.#warmth[pods.slots[i] ?? 0] ?? 0
      if (warmth > warmest) warmest = warmth
    }
    this.#warmest[0] = warmest
  }

  /** Whether the pod takes the turn that has come to it. The warmest always do. */
  admits(slot: number): boolean {
    const warmth = this.#warmth[slot] ?? 0
    const warmest = this.#warmest[0] ?? 0
    return warmth >= warmest || this.dice.roll(SIDES) * warmest < SIDES * warmth
  }
}
