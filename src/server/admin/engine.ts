/** What the pods' own metrics say, as `GET /pods` and the metrics page show it. */
import type { Pod } from '../../data/pod-registry.js'
import type { Scraper } from '../../data/scrape/scraper.js'
import type { EngineGauges } from '../../telemetry/engine-metrics.js'

/** Null where the pod's metrics are not read. */
export function showEngine(scraper: Scraper, pod: Pod) {
  const status = scraper.status(pod)
  if (status === undefined) return null
  const { reading, ageMs, failures, fault = null } = status
  if (reading === undefined) return { engine: null, ageMs: null, failures, fault }
  return { ...reading, ageMs: Math.round(ageMs), failures, fault }
}

export function engineGauges(scraper: Scraper, pod: Pod): EngineGauges[] {
  const status = scraper.status(pod)
  if (status === undefined) return []
  const { reading, ageMs, failures } = status
  return [{ id: pod.id, reading: reading && { ...reading, ageMs }, failures }]
}
