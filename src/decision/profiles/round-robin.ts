import type { AnyExecuteSpec } from '../plugin.js'
import { circuitClosed, healthy, roundRobin as pickInTurn } from '../plugins/index.js'
import { profile } from '../profile.js'

/** Each healthy pod in turn, over all worker threads. */
export const roundRobin = (workflow: AnyExecuteSpec) =>
  profile('round-robin').filter(healthy(), circuitClosed()).pick(pickInTurn()).execute(workflow)
