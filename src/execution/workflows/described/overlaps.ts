/** Edits of one step's request that get in each other's way. */
import { type FieldPath, pathOf } from '../../nested-fields.js'
import type { DescribedFault, FaultPath } from './fault.js'
import type { DescribedStep } from './schema.js'

/** Of two edits of which one lies within the other, nobody could tell which counts. */
export function overlaps({ request }: DescribedStep, path: FaultPath): DescribedFault[] {
  const { set, drop } = request
  const edits = [
    ...Object.keys(set).map(name => ({ name, at: ['set', name] })),
    ...drop.map((name, i) => ({ name, at: ['drop', i] })),
  ]
  return edits.flatMap(({ name, at }, i) => {
    const own = pathOf(name)
    const other = edits
      .slice(0, i)
      .find(each => isWithin(own, pathOf(each.name)) || isWithin(pathOf(each.name), own))
    if (other === undefined) return []
    const message = `'${name}' and '${other.name}' are the same field, or one lies within the other`
    return [{ path: [...path, 'request', ...at], message, fix: 'keep one of them' }]
  })
}

const isWithin = (inner: FieldPath, outer: FieldPath): boolean => outer.every((name, i) => inner[i] === name)
