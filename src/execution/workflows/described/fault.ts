/** A fault of a configured workflow, as it is told. */
import { nearestNames } from '../../../yaml/nearest.js'

export type FaultPath = readonly (string | number)[]

/** A fault, the way to it from the map of workflows, and what to do. */
export interface DescribedFault {
  readonly path: FaultPath
  readonly message: string
  readonly fix: string
}

/** A name that nothing has. `known`: those that there are. */
export function unknown(
  path: FaultPath,
  message: string,
  word: string,
  known: readonly string[],
): DescribedFault {
  const [guess] = nearestNames(word, known, 1)
  const there = known.length === 0 ? 'there are none' : `there are: ${known.join(', ')}`
  return { path, message, fix: guess === undefined ? there : `write ${guess}` }
}
