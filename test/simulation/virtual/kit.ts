/** What tests of the simulator share: small scenarios. */
import { configSchema, toRouterOptions } from '#phyllo/config/schema.js'
import type { Profile } from '#phyllo/decision/profile.js'
import { shippedProfiles } from '#phyllo/decision/profiles/index.js'
import { single } from '#phyllo/execution/workflows/single.js'
import { stateOptions } from '#phyllo/server/state-options.js'
import { a10gLlama8b, type EngineParameters } from '#phyllo/simulation/engine/parameters.js'
import { syntheticSchema, syntheticWorkload } from '#phyllo/simulation/traces/synthetic.js'
import type { FleetGroup } from '#phyllo/simulation/virtual/fleet.js'
import type { Scenario } from '#phyllo/simulation/virtual/scenario.js'
import type { Workload } from '#phyllo/simulation/virtual/workload.js'

export function profileNamed(name: string): Profile {
  const found = shippedProfiles(single()).find(profile => profile.name === name)
  if (found === undefined) throw new Error(`no profile is named ${name}`)
  return found
}

export const podsLike = (
  parameters: EngineParameters,
  count: number,
  rest: Partial<FleetGroup> = {},
): FleetGroup => ({ name: 'pod', count, parameters, labels: {}, maxInflight: 0, ...rest })

/** Conversations that share prefixes; seeded. */
export const conversations = (seed: number, input: object = {}, rate = 6): Workload =>
  syntheticWorkload(
    syntheticSchema.parse({
      groups: 4,
      prompts: 6,
      prefix: 600,
      suffix: 120,
      output: 30,
      turns: 3,
      ...input,
    }),
    { rate, thinkMs: 500, seed, limit: Number.POSITIVE_INFINITY },
  )

export function scenario(given: Partial<Scenario> = {}): Scenario {
  return {
    workload: conversations(1),
    fleet: [podsLike(a10gLlama8b, 3)],
    profile: profileNamed('cache-aware'),
    seed: 1,
    eventLagMs: null,
    metricIntervalMs: 1000,
    metricAgeMs: 0,
    decisionMs: 0,
    slo: { ttftMs: 2000, tpotMs: 100 },
    state: stateOptions(toRouterOptions(configSchema.parse({}))),
    ...given,
  }
}
