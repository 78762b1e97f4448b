/** What caches could do at best for a workload, whoever routes it. */
import { blockKeys } from '../engine/block-keys.js'
import type { Workload } from './workload.js'

/**
 * Part of the prompt tokens that one cache without limit would hold, if each request came when the ones before it are
 * answered. As an engine counts it: whole blocks, and never the last token, which is always computed.
 */
export function idealHitRate({ requests }: Workload, blockSize: number): number {
  const seen = new Set<number>()
  let tokens = 0
  let hits = 0
  for (const { prompt } of requests) {
    const keys = blockKeys(prompt.tokens(), blockSize)
    const usable = keys.subarray(0, Math.floor((prompt.length - 1) / blockSize))
    const miss = usable.findIndex(key => !seen.has(key))
    hits += (miss < 0 ? usable.length : miss) * blockSize
    tokens += prompt.length
    for (const key of keys) seen.add(key)
  }
  return hits / tokens
}
