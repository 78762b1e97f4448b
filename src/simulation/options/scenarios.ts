/** The scenarios that the options amount to: one for each profile, alike in all else. */
import { stateOptions } from '../../server/state-options.js'
import type { Scenario } from '../virtual/scenario.js'
import { fleetOf } from './fleet.js'
import { profilesOf, routerOptionsOf } from './profiles.js'
import type { SimulationOptions } from './schema.js'
import { workloadOf } from './workload.js'

/** Throws an OptionsError or a TraceError with what is wrong. */
export function scenariosOf(options: SimulationOptions): Scenario[] {
  const router = routerOptionsOf(options)
  const profiles = profilesOf(options, router)
  const fleet = fleetOf(options)
  const workload = workloadOf(options)
  return profiles.map(profile => ({
    workload,
    fleet,
    profile,
    seed: options.seed,
    eventLagMs: options.eventLag ?? null,
    metricIntervalMs: options.metricInterval,
    metricAgeMs: options.metricAge,
    decisionMs: options.decision,
    slo: { ttftMs: options.sloTtft, tpotMs: options.sloTpot },
    state: stateOptions(router),
  }))
}
