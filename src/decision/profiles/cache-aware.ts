import type { AnyExecuteSpec } from '../plugin.js'
import {
  circuitClosed,
  hashBlocks,
  healthy,
  matchPrefix,
  maxScore,
  prefillTime,
  tokenize,
} from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * The pod where the request costs least, in one unit: milliseconds of engine until the first byte. What is cached saves
 * its own prefill, what waits there is waited for, what runs there slows both. So a hit is worth exactly what it saves:
 * a short prefix never outweighs a queue, and a long one isn't computed twice for a short one. Of equals, the pod with the
 * fewest requests, then any.
 */
export const cacheAware = (workflow: AnyExecuteSpec) =>
  profile('cache-aware')
    .prepare(tokenize(), hashBlocks(), matchPrefix())
    .filter(healthy(), circuitClosed())
    .score(prefillTime())
    .pick(maxScore({ tieBreak: 'least-load' }))
    .execute(workflow)
