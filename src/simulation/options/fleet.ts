/** `--fleet a10g-8b:4,h100-8b:4:decode`, or the same as a list with more to say, as groups of pods. */
import { nearestNames } from '../../yaml/nearest.js'
import { podClasses, podClassNamed } from '../pod-classes/index.js'
import { parametersFor } from '../pod-classes/pod-class.js'
import type { FleetGroup } from '../virtual/fleet.js'
import { OptionsError } from './failure.js'
import { type FleetGroupOptions, SIMULATED_ROLES, type SimulationOptions } from './schema.js'

/** Throws an OptionsError for an unknown class, or one that has no room for a block. */
export function fleetOf(options: Pick<SimulationOptions, 'fleet' | 'blockSize' | 'kvTokens'>): FleetGroup[] {
  const { fleet, blockSize, kvTokens } = options
  const groups = typeof fleet === 'string' ? fleet.split(',').map(groupOf) : fleet
  const built = groups.map((group): FleetGroup => {
    const podClass = podClassNamed(group.class)
    if (podClass === undefined) throw new OptionsError(unknownClass(group.class))
    const { count, labels, maxInflight, role, connector } = group
    return {
      name: podClass.name,
      count,
      labels,
      maxInflight,
      role,
      connector,
      parameters: withRoom(() =>
        parametersFor(podClass, {
          ...group,
          blockSize: group.blockSize ?? blockSize,
          kvTokens: group.kvTokens ?? kvTokens,
        }),
      ),
    }
  })
  const pods = built.reduce((sum, { count }) => sum + count, 0)
  if (pods > 1024) throw new OptionsError(`--fleet  ${pods} pods — the router's index holds 1,024`)
  return built
}

function groupOf(text: string): FleetGroupOptions {
  const [, name, count = '1', asked = 'mixed'] =
    /^\s*([^:\s]+)(?::(\d+)(?::([^:\s]+))?)?\s*$/.exec(text) ?? []
  if (name === undefined || Number(count) < 1) {
    throw new OptionsError(
      `--fleet  expected CLASS:COUNT or CLASS:COUNT:ROLE, got ${JSON.stringify(text)} — write a10g-8b:4`,
    )
  }
  const role = SIMULATED_ROLES.find(each => each === asked)
  if (role === undefined) {
    throw new OptionsError(`--fleet  no role is named '${asked}' — there are ${SIMULATED_ROLES.join(', ')}`)
  }
  return { class: name, count: Number(count), maxInflight: 0, labels: {}, role, connector: 'nixl' }
}

function unknownClass(name: string): string {
  const names = podClasses.map(each => each.name)
  const [guess] = nearestNames(name, names)
  return `--fleet  no pod class is named '${name}' — ${guess === undefined ? `there are ${names.join(', ')}` : `write ${guess}`}`
}

function withRoom<T>(build: () => T): T {
  try {
    return build()
  } catch (error) {
    if (!(error instanceof RangeError)) throw error
    throw new OptionsError(`--kv-tokens  ${error.message}`)
  }
}
