/** One cell: prompts of a length at a rate, and what a subject makes of them. */
import { configSchema, toRouterOptions } from '#phyllo/config/schema.js'
import { stateOptions } from '#phyllo/server/state-options.js'
import { stepMs } from '#phyllo/simulation/engine/step-time.js'
import { syntheticSchema, syntheticWorkload } from '#phyllo/simulation/traces/synthetic.js'
import { distributionOf } from '#phyllo/simulation/virtual/quantiles.js'
import { FATE } from '#phyllo/simulation/virtual/recorder.js'
import { runScenario } from '#phyllo/simulation/virtual/simulation.js'
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

export interface Measured {
  /** Requests a second that met the SLO: their part of those looked at, times the rate. */
  readonly goodput: number
  readonly tpotP99: number
  readonly ttftMean: number
  readonly ttftP99: number
  /** Part of the requests whose prompt another pod computed. */
  readonly split: number
}

/**
 * The first third of the requests fills the fleet and is left out, as are none of the last: they end beside fewer others,
 * alike for all subjects.
 */
export async function measure(
  subject: Subject,
  cell: Cell,
  seed: number,
  requests: number,
): Promise<Measured> {
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
  const slo = sloOf(cell)
  const { recorder } = await runScenario({
    workload,
    fleet,
    profile,
    stepProfiles,
    seed,
    eventLagMs: null,
    metricIntervalMs: 1000,
    metricAgeMs: 0,
    decisionMs: 0,
    slo,
    state: stateOptions(toRouterOptions(configSchema.parse({}))),
  })
  const { arrivedAt, firstTokenAt, endedAt, movedTokens, fate } = recorder
  const looked = workload.requests.map((_, at) => at).slice(Math.floor(requests / 3))
  const done = looked.filter(at => fate[at] === FATE.done)
  const ttft = (at: number): number => (firstTokenAt[at] ?? 0) - (arrivedAt[at] ?? 0)
  const tpot = (at: number): number => {
    const tokens = workload.requests[at]?.outputTokens ?? 0
    return ((endedAt[at] ?? 0) - (firstTokenAt[at] ?? 0)) / (tokens - 1)
  }
  const good = done.filter(at => ttft(at) <= slo.ttftMs && tpot(at) <= slo.tpotMs).length
  const ttfts = distributionOf(Float64Array.from(done, ttft))
  return {
    goodput: (good / looked.length) * rateOf(cell),
    tpotP99: distributionOf(Float64Array.from(done, tpot)).p99,
    ttftMean: ttfts.mean,
    ttftP99: ttfts.p99,
    split: done.filter(at => (movedTokens[at] ?? 0) > 0).length / done.length,
  }
}
