/**
 * Data-parallel ranks share a URL; vLLM and SGLang serve a request on the rank that a header names, in SGLang
 * (serving_base.py) before what the body's `routed_dp_rank` says.
 */
import type { PodInfo } from '../data/pod-view.js'
import { withoutNamed } from './headers.js'

export const RANK_HEADER = 'x-data-parallel-rank'
const own: ReadonlySet<string> = new Set([RANK_HEADER])

/**
 * The headers (name, value, …) as a pod gets them: with its rank, if it has one. A client's own choice of a rank is
 * replaced then, since the router has chosen.
 */
export function withRank(headers: string[], { rank }: PodInfo): string[] {
  if (rank === undefined) return headers
  const out = withoutNamed(headers, own)
  out.push(RANK_HEADER, String(rank))
  return out
}
