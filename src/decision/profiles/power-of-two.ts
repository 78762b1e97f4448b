import type { AnyExecuteSpec } from '../plugin.js'
import { circuitClosed, healthy, leastLoad, maxScore, randomCandidates } from '../plugins/index.js'
import { profile } from '../profile.js'

/**
 * Two pods drawn at random, the one with fewer requests: Mitzenmacher, "The Power of Two Choices in Randomized Load
 * Balancing" (2001). Many threads or routers with old figures do not all run to the same pod.
 */
export const powerOfTwo = (workflow: AnyExecuteSpec) =>
  profile('power-of-two')
    .filter(healthy(), circuitClosed(), randomCandidates({ choices: 2 }))
    .score(leastLoad())
    .pick(maxScore({ tieBreak: 'least-load' }))
    .execute(workflow)
