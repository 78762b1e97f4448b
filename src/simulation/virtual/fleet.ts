/** A fleet as one writes it down, and the pods that it amounts to. */
import type { Connector, PodRole } from '../../data/pod-role.js'
import type { EngineParameters } from '../engine/parameters.js'

/** Pods that are alike. */
export interface FleetGroup {
  /** What the pods are, for people: the name of their class. */
  readonly name: string
  readonly count: number
  readonly parameters: EngineParameters
  readonly labels: Readonly<Record<string, string>>
  /** Most requests in flight on each pod that the router allows; 0: no limit. */
  readonly maxInflight: number
  /** Steps of requests that the pods take; absent: whole requests. */
  readonly role?: PodRole | undefined
  /** How they hand KV blocks over; absent: nixl. */
  readonly connector?: Connector | undefined
}

export interface FleetPod extends Omit<FleetGroup, 'count'> {
  /** `h100-8b-1`, or with a role `h100-8b-decode-1`, numbered through all groups of that name. */
  readonly id: string
}

/** All pods, in the order of the groups. */
export function podsOf(groups: readonly FleetGroup[]): FleetPod[] {
  const numbers = new Map<string, number>()
  return groups.flatMap(({ count, ...group }) =>
    Array.from({ length: count }, () => {
      const { name, role = 'mixed' } = group
      const stem = role === 'mixed' ? name : `${name}-${role}`
      const number = (numbers.get(stem) ?? 0) + 1
      numbers.set(stem, number)
      return { ...group, id: `${stem}-${number}` }
    }),
  )
}
