/** What a step's request is made from, and what it may ask for. */
import { type CacheHint, cacheHintOf } from '../data/cache-hint.js'
import type { PodInfo } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import type { Lease } from './lease.js'
import type { StepInput, StepResult } from './workflow.js'

export class LeasedStep implements StepInput {
  readonly pod: PodInfo
  readonly #lease: Lease
  #hint: CacheHint | undefined
  #asked = false

  constructor(
    readonly ctx: RoutingContext,
    lease: Lease,
    readonly clientAddress: string,
    readonly results: ReadonlyMap<string, StepResult>,
  ) {
    this.pod = lease.pod
    this.#lease = lease
  }

  cacheHint(): CacheHint | undefined {
    if (this.#asked) return this.#hint
    this.#asked = true
    const { ctx } = this
    const { ref, uncachedTokens } = this.#lease
    const hint = cacheHintOf(ctx.lane.native, ctx.ticket, ref)
    if (hint === undefined) return undefined
    // The booking has predicted the whole prompt since, which is what this request is about to bring.
    const before = Math.max(hint.promptTokens - uncachedTokens, 0)
    this.#hint = { ...hint, predictedTokens: Math.min(hint.predictedTokens, before) }
    return this.#hint
  }
}
