/** What observers are told of the second copy of a step's request. */
import type { RoutingContext } from '../decision/context.js'
import type { ExecutionEvents, HedgeFate } from './events.js'
import type { Leg } from './step-host.js'

/** Of one request, which has one hedge at a time. */
export class Hedging {
  #second: Leg | undefined

  constructor(
    private readonly events: Pick<ExecutionEvents, 'onHedge'>,
    private readonly ctx: RoutingContext,
  ) {}

  /** It was time for one, and none was sent. */
  missed(why: Extract<HedgeFate, 'refused' | 'no_pod'>): void {
    this.events.onHedge(this.ctx, why)
  }

  sent(second: Leg): void {
    this.#second = second
    this.events.onHedge(this.ctx, 'sent')
  }

  /** A leg has failed, be the other one of its step still at work or not. */
  failed(leg: Leg): void {
    if (leg === this.#second) this.#end('failed')
  }

  /** That leg's answer is the client's. */
  answered(winner: Leg): void {
    if (this.#second !== undefined) this.#end(winner === this.#second ? 'won' : 'lost')
  }

  #end(fate: HedgeFate): void {
    this.#second = undefined
    this.events.onHedge(this.ctx, fate)
  }
}
