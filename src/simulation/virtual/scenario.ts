/** What a simulation is asked to run. */
import type { SharedStateOptions } from '../../data/native.js'
import type { Profile } from '../../decision/profile.js'
import type { DescribedWorkflows } from '../../execution/workflows/described/schema.js'
import type { FleetGroup } from './fleet.js'
import type { Workload } from './workload.js'

/** What a request must reach to count as good, ms: both. */
export interface Slo {
  /** To the first token, from the request's arrival at the router. */
  readonly ttftMs: number
  /** Per token after the first, on average over the answer. */
  readonly tpotMs: number
}

export interface Scenario {
  readonly workload: Workload
  readonly fleet: readonly FleetGroup[]
  readonly profile: Profile
  /** Those that steps of the profile's workflow name; absent: those that ship. */
  readonly stepProfiles?: readonly Profile[]
  /** Those of the configuration, which profiles may name. */
  readonly workflows?: DescribedWorkflows | undefined
  /** Of whatever the profile draws, and of the names that engines give their blocks. */
  readonly seed: number
  /**
   * Time between an engine's step and the router's hearing of its KV events, ms. Null: the router does not follow
   * events, and predicts from what it has sent.
   */
  readonly eventLagMs: number | null
  /** Time between two looks at a pod's own metrics, ms; 0: the router never looks. */
  readonly metricIntervalMs: number
  /** How old the figures are when they come in, ms. */
  readonly metricAgeMs: number
  /** Time from a request's arrival to its decision, ms: parsing, tokenizing, the way to the pod. */
  readonly decisionMs: number
  readonly slo: Slo
  /** Of the router's native state. */
  readonly state: SharedStateOptions
}
