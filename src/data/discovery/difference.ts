/** What has changed between two descriptions of a pod. */
import { isDeepStrictEqual } from 'node:util'
import type { PodSpec } from '../pod-registry.js'
import { DEFAULT_TRANSFER } from '../pod-role.js'

export interface Difference {
  /** It is another engine now, or another one's cache: what was known of the pod does not hold. */
  readonly identity: boolean
  /** Labels, limits, models, role: it may go on serving. */
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

const identityOf = ({ url, dataParallel = 1, variant, kvEvents, kvTransfer = DEFAULT_TRANSFER }: PodSpec) => {
  const { endpoint, replay, topic, firstSequence } = kvEvents ?? {}
  const { connector, bootstrapPort, address } = kvTransfer
  const events = [endpoint, replay, topic, firstSequence]
  return [url, dataParallel, variant, events, connector, bootstrapPort, address]
}

const traitsOf = ({ labels = {}, maxInflight = 0, models = [], role = 'mixed' }: PodSpec) => ({
  labels,
  maxInflight,
  models,
  role,
})
