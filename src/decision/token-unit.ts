/**
 * The unit of a cost that is counted in tokens. Costs of one profile are added up, so they must share it; in which one,
 * changes no order, but says what a score's weight beside them means.
 */
import { z } from 'zod'
import type { CacheSizes } from '../data/cache-sizes.js'
import type { Pool } from '../data/pod-view.js'

/** vLLM's size on GPUs, for pods that have not told theirs. */
const USUAL_BLOCK = 16

export const tokenUnit = z.union([z.number().positive(), z.literal('block')])

/** What divides tokens, at each pod's place in the pool, into units. */
export function inUnits(
  unit: z.output<typeof tokenUnit>,
  caches: CacheSizes,
): (pods: Pool, tokens: Float64Array) => void {
  if (unit !== 'block') {
    const perToken = 1 / unit
    return (pods, tokens) => {
      for (let i = 0; i < pods.length; i++) tokens[i] = (tokens[i] ?? 0) * perToken
    }
  }
  const { blockSize } = caches
  return (pods, tokens) => {
    caches.refresh()
    for (let i = 0; i < pods.length; i++) {
      const size = blockSize[pods.slots[i] ?? 0] ?? 0
      tokens[i] = (tokens[i] ?? 0) / (size > 0 ? size : USUAL_BLOCK)
    }
  }
}
