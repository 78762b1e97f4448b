import type { AnyExecuteSpec } from '../plugin.js'
import { affinityKey, circuitClosed, concurrencyCap, hashRing, healthy } from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * Consistent hashing with bounded loads: a session, a user or a prompt's beginning always goes to the same pod while
 * that has at most 1.25 times the mean in flight, and to the next on the ring otherwise. The factor and the ring's
 * 160 places per pod are the defaults that users of bounded loads and of vLLM Router know.
 */
export const consistentHash = (workflow: AnyExecuteSpec) =>
  profile('consistent-hash')
    .prepare(affinityKey())
    .filter(healthy(), circuitClosed(), concurrencyCap({ factor: 1.25 }))
    .pick(hashRing({ virtualNodes: 160 }))
    .execute(workflow)
