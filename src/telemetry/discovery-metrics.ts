/** How the sources of pods are doing. */
import type { Registry } from 'prom-client'
import { Series } from './series.js'

export interface SourceGauges {
  readonly name: string
  /** Pods in service that are its. */
  readonly pods: number
  /** Looks that went wrong so far. */
  readonly failures: number
  /** What was wrong with the last look; undefined if nothing. */
  readonly fault: string | undefined
}

export interface DiscoverySource {
  sources(): readonly SourceGauges[]
}

export function discoveryMetrics(registry: Registry, gauges: DiscoverySource): void {
  const sources = new Series(
    registry,
    'source',
    () => gauges.sources(),
    ({ name }) => name,
  )
  sources.gauges(
    ['phyllo_discovery_pods', 'Pods in service that a source found.', ({ pods }) => pods],
    [
      'phyllo_discovery_ok',
      '1 if the last look of a source went well; 0: the pods found before stay.',
      ({ fault }) => (fault === undefined ? 1 : 0),
    ],
  )
  sources.counters([
    'phyllo_discovery_failures_total',
    'Looks of a source that went wrong.',
    ({ failures }) => failures,
  ])
}
