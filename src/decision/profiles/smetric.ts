import type { AnyExecuteSpec } from '../plugin.js'
import {
  affinityGate,
  circuitClosed,
  hashBlocks,
  healthy,
  lmetric,
  matchPrefix,
  maxScore,
  tokenize,
} from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * SMetric, for agents: a conversation that goes on stays with the pod that has the most of it cached, unless that is
 * expected to miss the time that is asked for and another one is not; everything else by LMetric. Its SLO is to be set to
 * one's own; the defaults are 0.2 s and 0.4 ms a token. Source: vllm-project/router, src/policies/smetric.rs.
 */
export const smetric = (workflow: AnyExecuteSpec) =>
  profile('smetric')
    .prepare(tokenize(), hashBlocks(), matchPrefix())
    .filter(
      healthy(),
      circuitClosed(),
      affinityGate({
        turns: 'follow-up',
        threshold: 0.1,
        keep: 'best',
        explore: 0,
        maxPenaltyMs: 0,
        sloMs: 200,
        sloMsPerToken: 0.4,
        slack: 1,
      }),
    )
    .score(lmetric())
    .pick(maxScore({ tieBreak: 'rotate' }))
    .execute(workflow)
