/**
 * A worker's word to the control plane that a hand-off has failed which may have been a Mooncake pod's: decode was told of
 * an engine that is perhaps there no longer, and which one is there now only the pod's bootstrap server knows.
 */
import type { PodInfo } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'

/** Least ms between two words of a pod, of one worker; the control plane asks no more often either. */
const GAP_MS = 100
/** Pods remembered; a fleet has no more at a time. */
const MOST_PODS = 1024

/** An observer for `ExecutionEvents.onDoubt`. `now`: milliseconds that only grow. */
export function engineDoubts(tell: (pod: string) => void, now: () => number) {
  const toldAt = new Map<string, number>()
  return (_ctx: RoutingContext, { id, kvTransfer }: PodInfo): void => {
    if (kvTransfer?.connector !== 'mooncake') return
    const at = now()
    if (at - (toldAt.get(id) ?? Number.NEGATIVE_INFINITY) < GAP_MS) return
    if (toldAt.size >= MOST_PODS) toldAt.clear()
    toldAt.set(id, at)
    tell(id)
  }
}
