/** The scenarios that the options amount to: one for each profile, alike in all else. */
import type { Profile } from '../../decision/profile.js'
import { preparedFor } from '../../execution/route.js'
import { profilesOf as stepNames } from '../../execution/workflow.js'
import type { DescribedWorkflows } from '../../execution/workflows/described/schema.js'
import { workflowFor } from '../../execution/workflows/registry.js'
import { resolveProfiles } from '../../server/profiles.js'
import { stateOptions } from '../../server/state-options.js'
import type { Scenario } from '../virtual/scenario.js'
import { unknownPart } from '../virtual/way.js'
import { OptionsError } from './failure.js'
import { fleetOf } from './fleet.js'
import { profilesOf, routerOptionsOf } from './profiles.js'
import type { SimulationOptions } from './schema.js'
import { workloadOf } from './workload.js'

/** What a workflow may be made of. Of a configured one, a decode step says `prefilled`, and so that another computes it. */
const SIMULATED =
  'it can be of one step, or of a prefill step (role: prefill) and a decode step (prefilled: true), without hedges, other models and steps that are left out'

/** Those that steps of the profile's workflow name. `workflows`: the configured ones. */
function stepProfilesOf(
  profile: Profile,
  known: ReadonlyMap<string, Profile>,
  workflows: DescribedWorkflows | undefined,
): Profile[] {
  const workflow = workflowFor(profile.execute, workflows)
  const unknown = unknownPart(workflow)
  if (unknown !== undefined) {
    throw new OptionsError(
      `--profile  '${profile.name}' is served by workflow '${unknown}', which can't be simulated — ${SIMULATED}`,
    )
  }
  const fault = preparedFor(profile, workflow, known)
  if ('message' in fault) throw new OptionsError(`--profile  ${fault.profile}: ${fault.message}`)
  return [...stepNames(workflow)].flatMap(name => known.get(name) ?? [])
}

/** Throws an OptionsError or a TraceError with what is wrong. */
export function scenariosOf(options: SimulationOptions): Scenario[] {
  const router = routerOptionsOf(options)
  const profiles = profilesOf(options, router)
  const fleet = fleetOf(options)
  const workload = workloadOf(options)
  const known = new Map([...resolveProfiles(router).values(), ...profiles].map(each => [each.name, each]))
  return profiles.map(profile => ({
    workload,
    fleet,
    profile,
    stepProfiles: stepProfilesOf(profile, known, router.workflows),
    workflows: router.workflows,
    seed: options.seed,
    eventLagMs: options.eventLag ?? null,
    metricIntervalMs: options.metricInterval,
    metricAgeMs: options.metricAge,
    decisionMs: options.decision,
    slo: { ttftMs: options.sloTtft, tpotMs: options.sloTpot },
    state: stateOptions(router),
  }))
}
