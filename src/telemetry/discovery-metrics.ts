/** How the sources of pods are doing. */
import { Counter, Gauge, type Registry } from 'prom-client'

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
  const registers = [registry]
  const perSource: [name: string, help: string, value: (source: SourceGauges) => number][] = [
    ['phyllo_discovery_pods', 'Pods in service that a source found.', source => source.pods],
    [
      'phyllo_discovery_ok',
      '1 if the last look of a source went well; 0: the pods found before stay.',
      source => (source.fault === undefined ? 1 : 0),
    ],
  ]
  for (const [name, help, value] of perSource) {
    new Gauge({
      name,
      help,
      labelNames: ['source'],
      registers,
      collect() {
        this.reset()
        for (const source of gauges.sources()) this.set({ source: source.name }, value(source))
      },
    })
  }
  new Counter({
    name: 'phyllo_discovery_failures_total',
    help: 'Looks of a source that went wrong.',
    labelNames: ['source'],
    registers,
    collect() {
      this.reset()
      for (const { name, failures } of gauges.sources()) this.inc({ source: name }, failures)
    },
  })
}
