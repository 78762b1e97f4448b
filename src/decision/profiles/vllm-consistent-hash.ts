import type { AnyExecuteSpec } from '../plugin.js'
import { affinityKey, circuitClosed, hashRing, healthy } from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * `consistent_hash` of vLLM Router: the first of six headers, then of four body fields, then the body itself (here its first
 * 64 KiB). Unlike consistent-hash it takes ids that are new with every request, as that router does, and has no bound.
 * Source: vllm-project/router, src/policies/hash_key.rs; newer ones look at X-Correlation-ID before X-Request-ID.
 */
export const vllmConsistentHash = (workflow: AnyExecuteSpec) =>
  profile('vllm-consistent-hash')
    .prepare(
      affinityKey({
        headers: [
          'x-session-id',
          'x-user-id',
          'x-tenant-id',
          'x-request-id',
          'x-correlation-id',
          'x-trace-id',
        ],
        fields: ['session_params.session_id', 'user', 'session_id', 'user_id'],
        else: 'body',
        promptBytes: 65_536,
      }),
    )
    .filter(healthy(), circuitClosed())
    .pick(hashRing({ virtualNodes: 160 }))
    .execute(workflow)
