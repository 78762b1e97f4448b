/** What is compared: eight H100 in three arrangements, and the profiles that route to each. */
import type { PodRole } from '#phyllo/data/pod-role.js'
import {
  circuitClosed,
  decodeApart,
  hashBlocks,
  healthy,
  kvUse,
  matchPrefix,
  maxScore,
  prefillDelay,
  prefillTime,
  tokenize,
} from '#phyllo/decision/plugins/index.js'
import { type Profile, profile } from '#phyllo/decision/profile.js'
import { shippedProfiles, stepProfiles } from '#phyllo/decision/profiles/index.js'
import { vllmNixl } from '#phyllo/execution/workflows/prefill-decode/vllm-nixl.js'
import { single } from '#phyllo/execution/workflows/single.js'
import { h1008b } from '#phyllo/simulation/pod-classes/h100-8b.js'
import { parametersFor } from '#phyllo/simulation/pod-classes/pod-class.js'
import type { FleetGroup } from '#phyllo/simulation/virtual/fleet.js'

export interface Subject {
  readonly name: string
  readonly fleet: readonly FleetGroup[]
  readonly profile: Profile
  readonly stepProfiles: readonly Profile[]
}

export const parameters = parametersFor(h1008b)

const pods = (count: number, role: PodRole): FleetGroup => ({
  name: 'h100-8b',
  count,
  role,
  parameters,
  labels: {},
  maxInflight: 0,
})

const ways = { prefill: 'prefill', decode: 'decode' }

function splitBy(execute: Parameters<typeof vllmNixl>[0], name: string): Profile {
  return profile(name)
    .prepare(tokenize(), hashBlocks(), matchPrefix())
    .filter(healthy(), circuitClosed())
    .pick(maxScore())
    .execute(vllmNixl({ ...ways, ...execute }))
}

/**
 * For pods that do both: prefill where it holds up few; decode on the pods that `decode-apart` leaves, as the mixed fleet's
 * profile has it, and where there is room. Costs are milliseconds: a quarter of a pod's KV cache, which is a prompt of
 * 100,000 tokens, counts as much as one more request does there for a prompt as long.
 */
const mindful = (): readonly Profile[] => [
  profile('prefill')
    .prepare(tokenize(), hashBlocks(), matchPrefix())
    .filter(healthy(), circuitClosed())
    .score(prefillDelay())
    .pick(maxScore({ tieBreak: 'least-load' }))
    .execute(single()),
  profile('decode')
    .prepare(tokenize(), hashBlocks(), matchPrefix())
    .filter(healthy(), circuitClosed(), decodeApart())
    .score(prefillTime({ measured: false }), kvUse({ weight: 3000 }))
    .pick(maxScore({ tieBreak: 'least-load' }))
    .execute(single()),
]

function shipped(name: string): Profile {
  const found = shippedProfiles(single()).find(each => each.name === name)
  if (found === undefined) throw new Error(`no profile is named ${name}`)
  return found
}

export const subjects: readonly Subject[] = [
  { name: '8 mixed', fleet: [pods(8, 'mixed')], profile: shipped('cache-aware'), stepProfiles: [] },
  {
    name: '4P4D, threshold 256',
    fleet: [pods(4, 'prefill'), pods(4, 'decode')],
    profile: splitBy({ threshold: 256 }, 'split'),
    stepProfiles: stepProfiles(single()),
  },
  {
    name: '4P4D, adaptive',
    fleet: [pods(4, 'prefill'), pods(4, 'decode')],
    profile: splitBy({ threshold: 'adaptive' }, 'split'),
    stepProfiles: stepProfiles(single()),
  },
  {
    name: '4B4D, adaptive',
    fleet: [pods(4, 'both'), pods(4, 'decode')],
    profile: splitBy({ threshold: 'adaptive' }, 'split'),
    stepProfiles: mindful(),
  },
]

/** The fleets whose better one adaptive is held to. */
export const EXTREMES = ['8 mixed', '4P4D, threshold 256'] as const
/** What is held to it; the first is the one that has both within its reach. */
export const ADAPTIVE = ['4B4D, adaptive', '4P4D, adaptive'] as const
