/** Misbehaviour on demand, so that a router's answer to it can be tested. */
import type { Exchange } from '../../server/listener/listener.js'
import { type EngineOptions, FAULTS } from './options.js'
import type { Random } from './random.js'

export type FaultName = (typeof FAULTS)[number]

/**
 * - `error[=STATUS]`: an error answer, 500 unless given
 * - `refuse`: the connection ends without an answer
 * - `hang`: no answer, ever
 * - `die[=N]`: the connection breaks after N events of a stream (3), or half-way through a JSON body
 * - `garbage`: 200 with bytes that are no JSON and no events
 * - `slow-headers[=MS]`: nothing for MS milliseconds (1,000), then a proper answer
 */
export interface Fault {
  readonly name: FaultName
  readonly amount: number | null
}

const isFaultName = (name: string): name is FaultName => FAULTS.some(known => known === name)

/** `name` or `name=number`; null for anything else. */
export function parseFault(text: string): Fault | null {
  const [name = '', amount] = text.split('=')
  if (!isFaultName(name)) return null
  return { name, amount: amount === undefined ? null : Number(amount) }
}

/** The fault of a request: its own header's, else the engine's, else by chance. */
export function faultOf(exchange: Exchange, options: EngineOptions, random: Random): Fault | null {
  const asked = exchange.header('x-sim-fault') ?? options.fault
  if (asked !== undefined) return parseFault(asked)
  if (options.failRate > 0 && random() < options.failRate) return { name: 'error', amount: 500 }
  return null
}
