/** The side that is measured, in a process of its own: the router's scraper with nothing around it. */
import { ownBoard } from '#phyllo/data/fleet-board.js'
import { isPodRef } from '#phyllo/data/native.js'
import type { Pod } from '#phyllo/data/pod-registry.js'
import { DEFAULT_TRANSFER } from '#phyllo/data/pod-role.js'
import { Connection } from '#phyllo/data/scrape/connection.js'
import { realWorld, Scraper } from '#phyllo/data/scrape/scraper.js'
import { pause } from '../lib/child.js'
import { answerOrders } from '../lib/orders.js'
import { UndiciSource } from './undici-source.js'

export interface ScrapeOrder {
  readonly port: number
  readonly pods: number
  readonly client: 'own' | 'undici'
  /** Between two looks at a pod. */
  readonly intervalMs: number
  readonly ms: number
}

export interface ScrapeReport {
  readonly scrapes: number
  readonly cpuMicros: number
}

function podAt(port: number, slot: number): Pod {
  const ref = 1024 + slot
  if (!isPodRef(ref)) throw new Error('a slot is not negative')
  const basePath = `/p${slot}`
  const origin = `http://127.0.0.1:${port}`
  return {
    ...{ ref, id: `p${slot}`, name: `p${slot}`, rank: undefined, url: origin + basePath, origin, basePath },
    ...{ labels: {}, maxInflight: 0, kvEvents: undefined, variant: undefined, fixedModels: true, models: [] },
    ...({ role: 'mixed', kvTransfer: DEFAULT_TRANSFER } as const),
    ...{ cordoned: false, healthy: true, reason: undefined },
  }
}

/** The first looks tell the engines apart. */
const SETTLE_MS = 2_000

answerOrders(async ({ port, pods, client, intervalMs, ms }: ScrapeOrder): Promise<ScrapeReport> => {
  let scrapes = 0
  const count = {
    setEngineLoad: () => void scrapes++,
    setPodCache: () => undefined,
    podStatus: () => false,
  }
  const fault = (pod: Pod, reason: string): never => {
    throw new Error(`pod ${pod.id} ${reason}`)
  }
  const options = { intervalMs, fastMs: 250, timeoutMs: 5000, path: '/metrics' }
  const scraper = new Scraper(
    count,
    ownBoard().adapters,
    options,
    { onBlockSize: () => undefined, onFault: fault },
    {
      ...realWorld,
      connect: (origin, sink) =>
        client === 'own' ? new Connection(origin, sink) : new UndiciSource(origin, sink),
    },
  )
  for (let slot = 0; slot < pods; slot++) scraper.watch(podAt(port, slot))
  await pause(SETTLE_MS)
  const before = process.cpuUsage()
  scrapes = 0
  await pause(ms)
  const { user, system } = process.cpuUsage(before)
  const report = { scrapes, cpuMicros: user + system }
  scraper.stop()
  return report
})
