/** Every built-in plugin. A new one is its file and a line here. */
import type { AnyFactory } from '../plugin.js'
import { affinityGate } from './filter/affinity-gate.js'
import { circuitClosed } from './filter/circuit-closed.js'
import { concurrencyCap } from './filter/concurrency-cap.js'
import { decodeApart } from './filter/decode-apart.js'
import { deviationCap } from './filter/deviation-cap.js'
import { hashCandidates } from './filter/hash-candidates.js'
import { healthy } from './filter/healthy.js'
import { imbalanceGuard } from './filter/imbalance-guard.js'
import { labelSelector } from './filter/label-selector.js'
import { lengthBuckets } from './filter/length-buckets.js'
import { randomCandidates } from './filter/random-candidates.js'
import { reachesEarlierPick } from './filter/reaches-earlier-pick.js'
import { sloHeadroom } from './filter/slo-headroom.js'
import { tenantFairness } from './filter/tenant-fairness.js'
import { weightedSplit } from './filter/weighted-split.js'
import { hashRing } from './pick/hash-ring.js'
import { maxScore } from './pick/max-score.js'
import { random } from './pick/random.js'
import { roundRobin } from './pick/round-robin.js'
import { softmax } from './pick/softmax.js'
import { affinityKey } from './prepare/affinity-key.js'
import { hashBlocks } from './prepare/hash-blocks.js'
import { matchPrefix } from './prepare/match-prefix.js'
import { prefixKey } from './prepare/prefix-key.js'
import { sessionKey } from './prepare/session-key.js'
import { tokenize } from './prepare/tokenize.js'
import { decodeLoad } from './score/decode-load.js'
import { firstByteTime } from './score/first-byte-time.js'
import { freeCache } from './score/free-cache.js'
import { kvUse } from './score/kv-use.js'
import { leastLoad } from './score/least-load.js'
import { lmetric } from './score/lmetric.js'
import { loraAffinity } from './score/lora-affinity.js'
import { nearEarlierPick } from './score/near-earlier-pick.js'
import { noHitLru } from './score/no-hit-lru.js'
import { prefillDelay } from './score/prefill-delay.js'
import { prefillLoad } from './score/prefill-load.js'
import { prefillTime } from './score/prefill-time.js'
import { prefixOverlap } from './score/prefix-overlap.js'
import { queue } from './score/queue.js'
import { sessionAffinity } from './score/session-affinity.js'
import { topologyAffinity } from './score/topology-affinity.js'

export const builtinPlugins: readonly AnyFactory[] = [
  tokenize,
  hashBlocks,
  matchPrefix,
  sessionKey,
  affinityKey,
  prefixKey,
  healthy,
  circuitClosed,
  affinityGate,
  concurrencyCap,
  decodeApart,
  deviationCap,
  hashCandidates,
  imbalanceGuard,
  randomCandidates,
  labelSelector,
  lengthBuckets,
  reachesEarlierPick,
  sloHeadroom,
  tenantFairness,
  weightedSplit,
  loraAffinity,
  topologyAffinity,
  decodeLoad,
  firstByteTime,
  freeCache,
  kvUse,
  leastLoad,
  lmetric,
  nearEarlierPick,
  noHitLru,
  prefillDelay,
  prefillLoad,
  prefillTime,
  prefixOverlap,
  queue,
  sessionAffinity,
  maxScore,
  random,
  roundRobin,
  hashRing,
  softmax,
]
export {
  affinityGate,
  affinityKey,
  circuitClosed,
  concurrencyCap,
  decodeApart,
  decodeLoad,
  deviationCap,
  firstByteTime,
  freeCache,
  hashBlocks,
  hashCandidates,
  hashRing,
  healthy,
  imbalanceGuard,
  kvUse,
  labelSelector,
  leastLoad,
  lengthBuckets,
  lmetric,
  loraAffinity,
  matchPrefix,
  maxScore,
  nearEarlierPick,
  noHitLru,
  prefillDelay,
  prefillLoad,
  prefillTime,
  prefixKey,
  prefixOverlap,
  queue,
  random,
  randomCandidates,
  reachesEarlierPick,
  roundRobin,
  sessionAffinity,
  sessionKey,
  sloHeadroom,
  softmax,
  tenantFairness,
  tokenize,
  topologyAffinity,
  weightedSplit,
}
