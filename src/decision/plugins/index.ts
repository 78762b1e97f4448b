/** Every built-in plugin. A new one is its file and a line here. */
import type { AnyFactory } from '../plugin.js'
import { circuitClosed } from './filter/circuit-closed.js'
import { concurrencyCap } from './filter/concurrency-cap.js'
import { healthy } from './filter/healthy.js'
import { hashRing } from './pick/hash-ring.js'
import { maxScore } from './pick/max-score.js'
import { random } from './pick/random.js'
import { roundRobin } from './pick/round-robin.js'
import { affinityKey } from './prepare/affinity-key.js'
import { hashBlocks } from './prepare/hash-blocks.js'
import { matchPrefix } from './prepare/match-prefix.js'
import { sessionKey } from './prepare/session-key.js'
import { tokenize } from './prepare/tokenize.js'
import { leastLoad } from './score/least-load.js'
import { prefixOverlap } from './score/prefix-overlap.js'
import { sessionAffinity } from './score/session-affinity.js'

export const builtinPlugins: readonly AnyFactory[] = [
  tokenize,
  hashBlocks,
  matchPrefix,
  sessionKey,
  affinityKey,
  healthy,
  circuitClosed,
  concurrencyCap,
  prefixOverlap,
  leastLoad,
  sessionAffinity,
  maxScore,
  random,
  roundRobin,
  hashRing,
]
export {
  affinityKey,
  circuitClosed,
  concurrencyCap,
  hashBlocks,
  hashRing,
  healthy,
  leastLoad,
  matchPrefix,
  maxScore,
  prefixOverlap,
  random,
  roundRobin,
  sessionAffinity,
  sessionKey,
  tokenize,
}
