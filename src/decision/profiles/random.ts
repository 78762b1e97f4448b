import type { AnyExecuteSpec } from '../plugin.js'
import { circuitClosed, healthy, random as pickRandom } from '../plugins/index.js'
import { profile } from '../profile.js'

/** Any healthy pod. The baseline that needs no knowledge at all. */
export const random = (workflow: AnyExecuteSpec) =>
  profile('random').filter(healthy(), circuitClosed()).pick(pickRandom()).execute(workflow)
