import type { AnyExecuteSpec } from '../plugin.js'
import { circuitClosed, healthy, leastLoad, maxScore } from '../plugins/index.js'
import { profile } from '../profile.js'

/** The pod with the fewest requests on it, whoever sent them; no prompt is tokenized. */
export const leastRequest = (workflow: AnyExecuteSpec) =>
  profile('least-request')
    .filter(healthy(), circuitClosed())
    .score(leastLoad())
    .pick(maxScore({ tieBreak: 'least-load' }))
    .execute(workflow)
