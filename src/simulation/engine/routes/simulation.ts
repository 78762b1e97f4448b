/** `/sim/…`: no engine's, but what tests and the demo ask of a simulated one. */
import { z } from 'zod'
import type { Call } from '../call.js'
import { FAULT_LEGS } from '../faults.js'
import { ApiError } from '../respond.js'

/** What the model has done so far, and how often each path was asked. */
export function simulationStats(call: Call): void {
  const { runtime } = call
  call.json(200, { ...runtime.stats(), requests: Object.fromEntries(runtime.requests) })
}

/** What became of this engine's hand-offs, its part in them, and where others reach it. */
export function handOffs(call: Call): void {
  const { handOff, options } = call.runtime
  const { role, kvConnector = null } = options
  call.json(200, {
    role,
    kvConnector,
    engineId: handOff.engineId,
    address: handOff.address,
    ...handOff.counts,
  })
}

const faultRequest = z.strictObject({
  fault: z.string().nullable(),
  leg: z.enum(FAULT_LEGS).default('any'),
  times: z.number().int().positive().optional(),
})

export function setFault(call: Call): void {
  const { fault, leg, times } = call.parse(faultRequest)
  try {
    call.runtime.faults.set(fault, leg, times)
  } catch (error) {
    if (error instanceof RangeError) throw ApiError.badRequest(error.message, 'fault')
    throw error
  }
  getFault(call)
}

export function getFault(call: Call): void {
  call.json(200, call.runtime.faults.state())
}

const listenRequest = z.strictObject({ closedMs: z.number().int().min(1).max(3_600_000) })

/** Nothing listens for that long: connections are refused, those that are open are reset. */
export function stopListening(call: Call): void {
  const { closedMs } = call.parse(listenRequest)
  call.json(200, { closedMs })
  call.runtime.closeFor(closedMs)
}
