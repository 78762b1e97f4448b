/** One cell: prompts of a length at a rate, and what a subject makes of them. */
import { configSchema, toRouterOptions } from '#phyllo/config/schema.js'
import { stateOptions } from '#phyllo/server/state-options.js'
import { stepMs } from '#phyllo/simulation/engine/step-time.js'
import { syntheticSchema, syntheticWorkload } from '#phyllo/simulation/traces/synthetic.js'
import type { SimulationResult } from '#phyllo/simulation/virtual/result.js'
import { simulate } from '#phyllo/simulation/virtual/simulate.js'
import { parameters, type Subject } from './subjects.js'

export const OUTPUT = 1000
/** Lengths lie within this part of the mean on both sides. */
const SPREAD = 0.2
const PODS = 8

export interface Cell {
  /** Prompt tokens. */
  readonly input: number
  /** Part of what eight pods could serve at most. */
  readonly load: number
}

/** Time that a pod with nothing else to do takes for a prompt of that length, ms. */
export function prefillMs(input: number): number {
  const { maxBatchedTokens } = parameters
  let ms = 0
  for (let at = 0; at < input; at += maxBatchedTokens) {
    ms += stepMs([{ tokens: Math.min(maxBatchedTokens, input - at), context: at }], parameters)
  }
  return ms
}

/** Requests a second that eight pods could serve at most: prompts, and answers in batches that fill their memory. */
export function capacityOf(input: number): number {
  const { blocks, blockSize } = parameters
  const batch = Math.floor((blocks * blockSize) / (input + OUTPUT))
  const step = stepMs(
    Array.from({ length: batch }, () => ({ tokens: 1, context: input + OUTPUT / 2 })),
    parameters,
  )
  return (1000 * PODS) / (prefillMs(input) + (OUTPUT * step) / batch)
}

export const rateOf = ({ input, load }: Cell): number => Number((load * capacityOf(input)).toPrecision(2))

/** Three times what the prompt takes on an idle pod and a second; 33 tokens a second, faster than anybody reads. */
export const sloOf = ({ input }: Cell) => ({ ttftMs: 3 * prefillMs(input) + 1000, tpotMs: 30 })

export function measure(subject: Subject, cell: Cell, seed: number, requests: number): Promise<SimulationResult> {
  const workload = syntheticWorkload(
    syntheticSchema.parse({
      groups: 1,
      prompts: requests,
      prefix: 0,
      suffix: cell.input,
      output: OUTPUT,
      spread: SPREAD,
    }),
    { rate: rateOf(cell), thinkMs: 0, seed, limit: requests },
  )
  const { fleet, profile, stepProfiles } = subject
  return simulate({
    workload,
    fleet,
    profile,
    stepProfiles,
    seed,
    eventLagMs: null,
    metricIntervalMs: 1000,
    metricAgeMs: 0,
    decisionMs: 0,
    slo: sloOf(cell),
    state: stateOptions(toRouterOptions(configSchema.parse({}))),
  })
}
