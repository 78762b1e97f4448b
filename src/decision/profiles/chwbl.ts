import type { AnyExecuteSpec } from '../plugin.js'
import { affinityKey, circuitClosed, concurrencyCap, hashRing, healthy } from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * Consistent hashing with bounded loads as KubeAI has it: the first 100 characters of the user's first message, 256 places
 * a pod, the next pod on the ring while one has 125 % of the mean. Mirrokni, Thorup, Zadimoghaddam (2016).
 */
export const chwbl = (workflow: AnyExecuteSpec) =>
  profile('chwbl')
    .prepare(affinityKey({ headers: [], fields: [], else: 'first-user-message', promptBytes: 100 }))
    .filter(healthy(), circuitClosed(), concurrencyCap({ factor: 1.25 }))
    .pick(hashRing({ virtualNodes: 256 }))
    .execute(workflow)
