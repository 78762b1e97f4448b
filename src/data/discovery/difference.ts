/** What has changed between two descriptions of a pod. */
import { isDeepStrictEqual } from 'node:util'
import type { PodSpec } from '../pod-registry.js'

export interface Difference {
  /** It is another engine now, or another one's cache: what was known of the pod does not hold. */
  readonly identity: boolean
  /** Labels, limits, models: it may go on serving. */
  readonly traits: boolean
  readonly cordon: boolean
}

export function differenceOf(before: PodSpec, after: PodSpec): Difference {
  return {
    identity: !isDeepStrictEqual(identityOf(before), identityOf(after)),
    traits: !isDeepStrictEqual(traitsOf(before), traitsOf(after)),
    cordon: (before.cordoned ?? false) !== (after.cordoned ?? false),
  }
}

const identityOf = ({ url, dataParallel = 1, variant, kvEvents }: PodSpec) => {
  const { endpoint, replay, topic, firstSequence } = kvEvents ?? {}
  return [url, dataParallel, variant, endpoint, replay, topic, firstSequence]
}

const traitsOf = ({ labels = {}, maxInflight = 0, models = [] }: PodSpec) => ({ labels, maxInflight, models })
