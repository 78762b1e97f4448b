/** What plugins of all threads had noted of pods when a logged decision was made. */
import { STANDING, type Standing } from '../../data/adapter-table.js'
import { type Board, ownBoard } from '../../data/fleet-board.js'
import { MAX_SLOTS } from '../../data/native.js'
import type { DecisionRecord } from './schema.js'

export class LoggedBoard implements Board {
  readonly isOnlooker = false
  readonly coldTurns = new Int32Array(MAX_SLOTS)
  /** No log holds who had how many tokens: tenants are known by a header. */
  readonly tenants = ownBoard().tenants
  readonly adapters = {
    used: () => undefined,
    since: (slot: number) => this.#since[slot] ?? -1,
    count: (slot: number) => this.#count[slot] ?? 0,
    standing: (slot: number) => this.#standing[slot] ?? STANDING.untold,
  }
  #arrivals = 0
  readonly #since = new Int32Array(MAX_SLOTS)
  readonly #count = new Int32Array(MAX_SLOTS)
  readonly #standing: Standing[] = []

  /** From here on it is that of the record. Adapters are told of its own model alone. */
  show({ pods: { slot: slots, coldTurn, adapter } }: DecisionRecord): void {
    this.coldTurns.fill(0)
    this.#since.fill(-1)
    this.#count.fill(0)
    this.#standing.length = 0
    for (const [i, slot] of slots.entries()) {
      this.coldTurns[slot] = coldTurn?.[i] ?? 0
      this.#since[slot] = adapter?.since[i] ?? -1
      this.#count[slot] = adapter?.count[i] ?? 0
      this.#standing[slot] = STANDING[adapter?.standing?.[i] ?? 'untold']
    }
  }

  /** The log may not hold all requests that came: those that it holds are counted. */
  arrived(): number {
    return this.#arrivals++
  }

  keptApart(): undefined {}

  keepApart(): void {}

  /** Nothing is booked. */
  wentCold(): void {}
}
