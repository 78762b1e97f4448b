/** Fallbacks of configured workflows that there are not, or that lead back to themselves. */
import { type DescribedFault, unknown } from './fault.js'
import type { DescribedWorkflows } from './schema.js'

/** `names`: of all workflows there are. */
export function fallbackFaults(
  name: string,
  workflows: DescribedWorkflows,
  names: readonly string[],
): DescribedFault[] {
  const fallback = workflows[name]?.fallback
  if (fallback === undefined) return []
  const path = [name, 'fallback']
  if (!names.includes(fallback)) return [unknown(path, `there is no workflow '${fallback}'`, fallback, names)]
  const chain = [name]
  for (let at: string | undefined = fallback; at !== undefined; at = workflows[at]?.fallback) {
    const isClosed = chain.includes(at)
    chain.push(at)
    // Whoever is in the circle says so; those that lead into it are none.
    if (isClosed && at !== name) return []
    if (isClosed)
      return [
        { path, message: `it falls back to itself: ${chain.join(' → ')}`, fix: 'end the chain, with single' },
      ]
  }
  return []
}
