/**
 * KV blocks on their way between pods. Each pod's network card sends to one pod at a time, and receives from one; who
 * comes later waits. What a hand-off takes besides its bytes goes on beside the next one.
 */
import type { EngineParameters } from '../engine/parameters.js'

type Network = Pick<EngineParameters, 'transferMsPerToken' | 'transferLatencyMs'>

export class Transfers {
  readonly #sendsUntil: Float64Array
  readonly #receivesUntil: Float64Array

  /** By pod. */
  constructor(private readonly networks: readonly Network[]) {
    this.#sendsUntil = new Float64Array(networks.length)
    this.#receivesUntil = new Float64Array(networks.length)
  }

  /** Puts so many tokens' blocks on their way at `now`; answers when they are there. A pod's own are there already. */
  begin(from: number, to: number, tokens: number, now: number): number {
    const sender = this.networks[from]
    const receiver = this.networks[to]
    if (sender === undefined || receiver === undefined) throw new RangeError(`no pods ${from} and ${to}`)
    if (from === to) return now
    const start = Math.max(now, this.#sendsUntil[from] ?? 0, this.#receivesUntil[to] ?? 0)
    const end = start + tokens * Math.max(sender.transferMsPerToken, receiver.transferMsPerToken)
    this.#sendsUntil[from] = end
    this.#receivesUntil[to] = end
    return end + Math.max(sender.transferLatencyMs, receiver.transferLatencyMs)
  }
}
