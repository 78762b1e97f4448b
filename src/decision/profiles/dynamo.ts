import type { AnyExecuteSpec } from '../plugin.js'
import {
  circuitClosed,
  decodeLoad,
  hashBlocks,
  healthy,
  matchPrefix,
  prefillLoad,
  softmax,
  tokenize,
} from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * The cost of NVIDIA Dynamo's KV router: overlap weight 1.0 times the blocks to prefill, and the active blocks, with the
 * request's own in both; softmax over it with a temperature, 0 being the least cost. Source: dynamo, lib/kv-router
 * selector.rs.
 */
export const dynamo = (workflow: AnyExecuteSpec) =>
  profile('dynamo')
    .prepare(tokenize(), hashBlocks(), matchPrefix())
    .filter(healthy(), circuitClosed())
    .score(prefillLoad({ weight: 1, tokensPerUnit: 'block' }), decodeLoad({ weight: 1 }))
    .pick(softmax({ temperature: 0 }))
    .execute(workflow)
