/** A workload in two parts by time: the search sees the first, and the second tells whether what it found holds. */
import type { VirtualRequest, Workload } from '../virtual/workload.js'

export interface Split {
  readonly training: Workload
  readonly heldBack: Workload
}

/**
 * Conversations stay whole: follow-ups belong to where their first turn is, even if they come after the cut. The later
 * conversations are held back, as few as make up that part of the requests or more. Each part begins at time 0, with
 * empty caches. Throws a RangeError where one of the parts would be empty.
 *
 * @param part of the requests to hold back, above 0 and below 1
 */
export function splitByTime(workload: Workload, part: number): Split {
  const { requests, name } = workload
  const roots = rootsOf(requests)
  const sizes = new Uint32Array(requests.length)
  for (const root of roots) sizes[root] = (sizes[root] ?? 0) + 1
  const first = [...new Set(roots)].sort((a, b) => startOf(requests, a) - startOf(requests, b) || a - b)
  const isHeldBack = new Uint8Array(requests.length)
  let count = 0
  // A hair of slack: 0.3 of 10 requests is 3, whatever the last bit of the product.
  const wanted = part * requests.length - 1e-9
  for (const root of first.toReversed()) {
    if (count >= wanted) break
    isHeldBack[root] = 1
    count += sizes[root] ?? 0
  }
  if (count === 0 || count === requests.length) {
    throw new RangeError(`${name} has too few conversations (${first.length}) to hold some back`)
  }
  const pick = (side: number): number[] =>
    requests.flatMap((_, at) => (isHeldBack[roots[at] ?? at] === side ? [at] : []))
  return {
    training: { ...workload, name: `${name}, training`, requests: extract(requests, pick(0)) },
    heldBack: { ...workload, name: `${name}, held back`, requests: extract(requests, pick(1)) },
  }
}

/** Of each request, the first one of its conversation. */
function rootsOf(requests: readonly VirtualRequest[]): number[] {
  const roots: number[] = []
  for (const [at, { after }] of requests.entries()) roots.push(after === null ? at : (roots[after] ?? at))
  return roots
}

const startOf = (requests: readonly VirtualRequest[], at: number): number => requests[at]?.atMs ?? 0

/** Those requests alone: positions and times anew. */
function extract(requests: readonly VirtualRequest[], picked: readonly number[]): VirtualRequest[] {
  const places = new Map(picked.map((at, place) => [at, place]))
  // Only first turns say when a part begins: others may have no time of their own.
  const from = picked.reduce(
    (least, at) => (requests[at]?.after === null ? Math.min(least, startOf(requests, at)) : least),
    Number.POSITIVE_INFINITY,
  )
  return picked.flatMap(at => {
    const request = requests[at]
    if (request === undefined) return []
    const after = request.after === null ? null : (places.get(request.after) ?? null)
    return [{ ...request, atMs: Math.max(0, request.atMs - from), after }]
  })
}
