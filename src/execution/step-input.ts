/** What a step's request is made from, and what it may ask for. */
import { type CacheHint, cacheHintOf } from '../data/cache-hint.js'
import type { PodInfo } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import { PhylloError } from '../errors.js'
import type { Lease } from './lease.js'
import type { StepInput } from './workflow.js'

/** What a workflow's run knows of its other steps. */
export interface StepPeers {
  readonly attemptId: string
  podOf(step: string): PodInfo | undefined
}

export class LeasedStep implements StepInput {
  readonly pod: PodInfo
  readonly #lease: Lease
  readonly #peers: StepPeers | undefined
  #hint: CacheHint | undefined
  #asked = false

  /** `peers`: absent for the step of a workflow that has but one. `step`: its name. */
  constructor(
    readonly ctx: RoutingContext,
    lease: Lease,
    readonly clientAddress: string,
    peers?: StepPeers,
    private readonly step?: string,
  ) {
    this.pod = lease.pod
    this.#lease = lease
    this.#peers = peers
  }

  get attemptId(): string {
    return this.#peers?.attemptId ?? this.ctx.request.id
  }

  podOf(step: string): PodInfo {
    // Of two pods that have the step's request, each is asked for its own.
    const pod = this.#peers === undefined || step === this.step ? this.pod : this.#peers.podOf(step)
    if (pod === undefined) throw new PhylloError('internal_error', `no pod is picked for step '${step}'`)
    return pod
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
