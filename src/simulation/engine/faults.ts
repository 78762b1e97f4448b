/** Misbehaviour on demand, so that a router's answer to it can be tested. */
import type { Call } from './call.js'
import { FAULTS } from './options.js'
import type { Random } from './random.js'
import { ApiError, sendJson } from './respond.js'

export type FaultName = (typeof FAULTS)[number]

/**
 * - `error[=STATUS]`: an error answer, 500 unless given
 * - `refuse`: the connection is reset before any header (that nothing listens at all is `POST /sim/listen`)
 * - `hang`: no answer, ever
 * - `die[=N]`: the connection is reset after N events of a stream (3), or half-way through a JSON body
 * - `stall[=N]`: after N events of a stream (3), or half of a JSON body, nothing more ever comes
 * - `garbage`: 200 with bytes that are no JSON and no events
 * - `slow-headers[=MS]`: nothing for MS milliseconds (1,000), then a proper answer
 * - `slow-body[=MS]`: a pause of MS milliseconds (1,000) after the first event, or half-way through a JSON body
 */
export interface Fault {
  readonly name: FaultName
  readonly amount: number | null
}

const isFaultName = (name: string): name is FaultName => FAULTS.some(known => known === name)

/** `name` or `name=number`; null for anything else. */
export function parseFault(text: string): Fault | null {
  const [name = '', amount] = text.split('=')
  if (!isFaultName(name) || (amount !== undefined && !/^\d+$/.test(amount))) return null
  return { name, amount: amount === undefined ? null : Number(amount) }
}

/** Which part of a disaggregated request is hit. */
export const FAULT_LEGS = ['any', 'prefill', 'decode'] as const
export type FaultLeg = (typeof FAULT_LEGS)[number]

/** The fault that an engine has now: it can be changed while it runs. */
export class FaultSwitch {
  private fault: Fault | null
  private leg: FaultLeg = 'any'
  /** Requests still to be hit. */
  private left = Number.POSITIVE_INFINITY
  /** Requests hit so far by each fault. */
  readonly hits = new Map<FaultName, number>()

  constructor(
    text: string | undefined,
    private readonly failRate: number,
    private readonly random: Random,
  ) {
    this.fault = text === undefined ? null : parseFault(text)
  }

  /** Null ends it. A RangeError tells of a text that is no fault. */
  set(text: string | null, leg: FaultLeg = 'any', times = Number.POSITIVE_INFINITY): void {
    const fault = text === null ? null : parseFault(text)
    if (text !== null && fault === null)
      throw new RangeError(`fault: one of ${FAULTS.join(', ')}, not ${text}`)
    Object.assign(this, { fault, leg, left: times })
  }

  state(): object {
    const { fault, leg, left, hits } = this
    const times = Number.isFinite(left) ? left : null
    return {
      fault: fault?.name ?? null,
      amount: fault?.amount ?? null,
      leg,
      times,
      hits: Object.fromEntries(hits),
    }
  }

  /** The fault of a request: its own header's, else the engine's, else by chance. */
  of(header: string | undefined, leg: () => Exclude<FaultLeg, 'any'> | null): Fault | null {
    const fault = header === undefined ? this.own(leg) : parseFault(header)
    if (fault !== null) this.hits.set(fault.name, (this.hits.get(fault.name) ?? 0) + 1)
    return fault
  }

  private own(leg: () => Exclude<FaultLeg, 'any'> | null): Fault | null {
    if (this.fault !== null && this.left > 0 && (this.leg === 'any' || this.leg === leg())) {
      this.left--
      return this.fault
    }
    return this.failRate > 0 && this.random() < this.failRate ? { name: 'error', amount: 500 } : null
  }
}

/** How an answer is to go wrong on its way; null for faults that leave no answer. */
export interface AnswerFault {
  readonly kind: 'die' | 'stall' | 'slow'
  /** Events that come through before. */
  readonly after: number
  readonly pauseMs: number
}

export function answerFault(fault: Fault | null): AnswerFault | null {
  const amount = fault?.amount ?? null
  if (fault?.name === 'die' || fault?.name === 'stall')
    return { kind: fault.name, after: amount ?? 3, pauseMs: 0 }
  return fault?.name === 'slow-body' ? { kind: 'slow', after: 1, pauseMs: amount ?? 1000 } : null
}

/** True if the fault was the answer. `serve` serves the request properly. */
export function misbehave(call: Call, fault: Fault, serve: () => void): boolean {
  const { exchange } = call
  switch (fault.name) {
    case 'error': {
      const error = new ApiError(fault.amount ?? 500, 'InternalServerError', 'simulated')
      sendJson(exchange, error.status, call.errorBody(error))
      return true
    }
    case 'refuse':
      exchange.abort()
      return true
    case 'hang':
      exchange.onAborted(() => undefined)
      return true
    case 'garbage':
      exchange.begin(200, ['content-type', 'application/json'])
      exchange.end('\u0001{"choices":[{"mess')
      return true
    case 'slow-headers': {
      const cancel = call.runtime.timing.after(fault.amount ?? 1000, serve)
      exchange.onAborted(cancel)
      return true
    }
    default:
      return false
  }
}
