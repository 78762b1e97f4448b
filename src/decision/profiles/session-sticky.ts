import type { AnyExecuteSpec } from '../plugin.js'
import {
  circuitClosed,
  hashBlocks,
  healthy,
  leastLoad,
  matchPrefix,
  maxScore,
  prefixOverlap,
  sessionAffinity,
  sessionKey,
  tokenize,
} from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * Cache-aware, and a session stays with its pod. Not unconditionally, which is known to cost a 2.17-fold imbalance:
 * load weighs as much as session and prefix together, with twice the usual slack. So a session leaves a pod that has
 * 16 requests more than the least loaded one, or 10 more where nothing of its prompt is cached there any longer.
 */
export const sessionSticky = (workflow: AnyExecuteSpec) =>
  profile('session-sticky')
    .prepare(tokenize(), hashBlocks(), matchPrefix(), sessionKey())
    .filter(healthy(), circuitClosed())
    .score(sessionAffinity({ weight: 2 }), prefixOverlap({ weight: 1 }), leastLoad({ weight: 3, slack: 16 }))
    .pick(maxScore({ tieBreak: 'least-load' }))
    .execute(workflow)
