/**
 * What a picker answers: slots to try, best first. Fixed size, reused by every selection of a worker, so that a
 * decision allocates nothing.
 */

/**
 * Pods kept: the pick and seven fall-backs. A booking is refused only by a race (another worker took the last place,
 * a breaker opened), so eight refusals in a row mean that the snapshot is stale; the selector then selects afresh.
 */
export const RANKING_SIZE = 8

export class Ranking {
  readonly slots = new Uint16Array(RANKING_SIZE)
  length = 0

  clear(): void {
    this.length = 0
  }

  /** Adds a slot behind the ones before; ignored when full. */
  push(slot: number): void {
    if (this.length < RANKING_SIZE) this.slots[this.length++] = slot
  }
}
