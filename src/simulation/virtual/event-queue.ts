/**
 * Virtual time: what is to happen, in the order of its time, and of its scheduling where times are equal. A binary heap
 * in three parallel arrays, since a run schedules an event for every step of every engine, millions of them.
 */

/** What happens at an event. A promise holds the clock until it settles. */
export type Action = () => void | Promise<void>

/** Actions between two turns of the event loop, some 10 ms: a progress bar wants to be drawn, and a signal heard. */
const ACTIONS_A_TURN = 4096

export class EventQueue {
  readonly #times: number[] = []
  readonly #orders: number[] = []
  readonly #actions: Action[] = []
  #scheduled = 0
  #now = 0

  /** Milliseconds since the run began. */
  get now(): number {
    return this.#now
  }

  get length(): number {
    return this.#times.length
  }

  /** Schedules an action; one for the past happens now. Throws a RangeError for a time that is no number. */
  at(ms: number, action: Action): void {
    if (!(ms < Number.POSITIVE_INFINITY)) throw new RangeError(`nothing can be scheduled for ${ms} ms`)
    const time = Math.max(ms, this.#now)
    const order = this.#scheduled++
    const times = this.#times
    let at = times.length
    while (at > 0) {
      const parent = (at - 1) >> 1
      // The new one is the youngest: among equals it stays behind.
      if ((times[parent] ?? 0) <= time) break
      this.#move(parent, at)
      at = parent
    }
    times[at] = time
    this.#orders[at] = order
    this.#actions[at] = action
  }

  /** Runs everything to its end, which what runs may put off by scheduling more. Rejects with what an action throws. */
  async run(): Promise<void> {
    let left = ACTIONS_A_TURN
    for (let action = this.#take(); action !== undefined; action = this.#take()) {
      const pending = action()
      // Awaiting what is no promise would cost every event a turn of the microtask queue.
      if (pending !== undefined) await pending
      if (--left > 0) continue
      left = ACTIONS_A_TURN
      await new Promise(resolve => setImmediate(resolve))
    }
  }

  /** The next action, with the clock set to its time. */
  #take(): Action | undefined {
    const first = this.#actions[0]
    const time = this.#times.pop()
    const order = this.#orders.pop()
    const action = this.#actions.pop()
    if (first === undefined || time === undefined || order === undefined || action === undefined) return
    this.#now = this.#times[0] ?? time
    if (this.#times.length > 0) this.#sink(time, order, action)
    return first
  }

  /** Puts the last entry, which was taken out, in the place of the first. */
  #sink(time: number, order: number, action: Action): void {
    const { length } = this.#times
    let at = 0
    for (let child = 1; child < length; child = 2 * at + 1) {
      if (child + 1 < length && this.#isBefore(child + 1, this.#timeOf(child), this.#orders[child] ?? 0))
        child++
      if (!this.#isBefore(child, time, order)) break
      this.#move(child, at)
      at = child
    }
    this.#times[at] = time
    this.#orders[at] = order
    this.#actions[at] = action
  }

  #isBefore(at: number, time: number, order: number): boolean {
    const own = this.#timeOf(at)
    return own < time || (own === time && (this.#orders[at] ?? 0) < order)
  }

  #timeOf(at: number): number {
    return this.#times[at] ?? Number.POSITIVE_INFINITY
  }

  #move(from: number, to: number): void {
    const action = this.#actions[from]
    if (action === undefined) throw new Error('unreachable: a place of the heap without an action')
    this.#times[to] = this.#timeOf(from)
    this.#orders[to] = this.#orders[from] ?? 0
    this.#actions[to] = action
  }
}
