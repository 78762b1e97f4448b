/** One data-parallel rank of an engine: a scheduler, a cache and, if wanted, a stream of KV events of its own. */
import { EngineDriver, type Timing } from './driver.js'
import { CacheEvents } from './kv-events/cache-events.js'
import { KvPublisher } from './kv-events/publisher.js'
import type { WireFaults } from './kv-events/wire-faults.js'
import { EngineMetrics } from './metrics.js'
import { type EngineOptions, parametersOf } from './options.js'
import type { EngineStats } from './request.js'
import { Engine } from './scheduler.js'

export class Rank {
  readonly engine: Engine
  readonly driver: EngineDriver
  readonly metrics: EngineMetrics
  /** Null if the engine publishes no events. */
  readonly events: CacheEvents | null
  /** Requests that wait for blocks from another engine, or for their partner, before they queue here. */
  parked = 0

  constructor(
    readonly index: number,
    options: EngineOptions,
    timing: Timing,
    readonly publisher: KvPublisher | null,
  ) {
    const { blockSize, kvEventsDialect: dialect, kvEventsHashes: hashes, seed } = options
    this.events =
      publisher === null
        ? null
        : new CacheEvents({ blockSize, dialect, hashes, seed }, events => publisher.publish(events))
    this.engine = new Engine(parametersOf(options), this.events)
    this.driver = new EngineDriver(this.engine, options.speed, timing)
    this.metrics = new EngineMetrics(index)
  }

  /** The model's, with the parked requests among those that wait, as vLLM counts them. */
  stats(): EngineStats {
    const stats = this.engine.stats()
    return { ...stats, waiting: stats.waiting + this.parked }
  }

  async close(): Promise<void> {
    this.driver.close()
    await this.publisher?.close()
  }
}

/** The publishers of all ranks; nulls if no events are wanted. Rejects if an address is none or is taken. */
export async function openPublishers(
  options: EngineOptions,
  faults: WireFaults | undefined,
): Promise<(KvPublisher | null)[]> {
  const ranks = Array.from({ length: options.dataParallel }, (_, rank) => rank)
  const { kvEvents: endpoint, kvEventsReplay: replay, kvEventsTopic: topic } = options
  if (endpoint === undefined) return ranks.map(() => null)
  const format = { form: options.kvEventsForm, dialect: options.kvEventsDialect }
  const opened = await Promise.allSettled(
    ranks.map(rank =>
      KvPublisher.open({
        endpoint,
        replay,
        topic,
        rank,
        format,
        ...(faults === undefined ? {} : { faults }),
      }),
    ),
  )
  const publishers = opened.flatMap(result => (result.status === 'fulfilled' ? [result.value] : []))
  const failure = opened.find(result => result.status === 'rejected')
  if (failure === undefined) return publishers
  await Promise.all(publishers.map(publisher => publisher.close()))
  throw new Error(`cannot publish KV events on ${endpoint}${replay === undefined ? '' : ` and ${replay}`}`, {
    cause: failure.reason,
  })
}
