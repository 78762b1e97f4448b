import type { AnyExecuteSpec } from '../plugin.js'
import {
  circuitClosed,
  hashBlocks,
  healthy,
  kvUse,
  matchPrefix,
  maxScore,
  noHitLru,
  prefixOverlap,
  queue,
  tokenize,
} from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * The weighted scorers of llm-d and the Gateway API Inference Extension: engine queue 2, free KV cache 2, cached prefix 3,
 * pods without recent cold requests 2. Add `{ lora-affinity: { weight: 1 } }` for adapters, and session-key with
 * `session-affinity` for sessions. Source: llm-d-router, pkg/epp/framework/plugins/scheduling/scorer.
 */
export const llmD = (workflow: AnyExecuteSpec) =>
  profile('llm-d')
    .prepare(tokenize(), hashBlocks(), matchPrefix())
    .filter(healthy(), circuitClosed())
    .score(queue({ weight: 2 }), kvUse({ weight: 2 }), prefixOverlap({ weight: 3 }), noHitLru({ weight: 2 }))
    .pick(maxScore({ tieBreak: 'random' }))
    .execute(workflow)
