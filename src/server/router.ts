/**
 * The router as a whole: the control plane on this thread, the data plane in worker threads. `startRouter` resolves
 * once the public port answers; `close` drains.
 */
import { availableParallelism } from 'node:os'
import { threadId } from 'node:worker_threads'
import { CacheAges, CacheLook, createCacheAges } from '../data/cache-ages.js'
import { Discovery, sourcesOf } from '../data/discovery/discovery.js'
import { type BoardHandle, createBoard, FleetBoard } from '../data/fleet-board.js'
import { HealthChecker, type HealthEvents } from '../data/health.js'
import { KvEvents } from '../data/kv-events/kv-events.js'
import { LaneView } from '../data/lane-view.js'
import { createLatencyMemory, type LatencyHandle, LatencyModel } from '../data/latency-model.js'
import { loadNative, type SharedState } from '../data/native.js'
import { PodRegistry } from '../data/pod-registry.js'
import type { PodInfo } from '../data/pod-view.js'
import {
  concurrentPrepares,
  createPrepareQueue,
  forgetQueued,
  PrepareQueue,
  type PrepareQueueHandle,
} from '../data/prepare-queue.js'
import { type ScrapeEvents, Scraper } from '../data/scrape/scraper.js'
import { CounterSums, type CountersHandle, createCounters } from '../telemetry/counters.js'
import { createDecisionCounts, DecisionCounts } from '../telemetry/decision-log/channel.js'
import { DecisionWriter } from '../telemetry/decision-log/writer.js'
import { createLogger, type Logger, saidOnce } from '../telemetry/log.js'
import { type Admin, startAdmin } from './admin/admin.js'
import { Decider } from './decider.js'
import { chooseListener } from './listener/choose.js'
import { ModelTable } from './model-table.js'
import { MooncakeBootstrap } from './mooncake-bootstrap.js'
import type { RouterOptions } from './options.js'
import { logPluginFailure } from './plugin-failures.js'
import { PodFleet } from './pod-fleet.js'
import { resolveProfiles } from './profiles.js'
import type { FleetUpdate, WorkerBirth } from './protocol.js'
import { SplitKeeper } from './split-keeper.js'
import { stateOptions } from './state-options.js'
import { WorkerPool } from './worker-pool.js'

export interface RunningRouter {
  /** `http://host:port` of the public port. */
  readonly url: string
  readonly adminUrl: string
  /** Stops accepting, lets requests finish (`timeouts.drainMs` at most), frees everything. */
  close(): Promise<void>
}

/**
 * Events tell a block size before any metrics page does, on a thread that has no word with this one: so the pods' block
 * sizes are looked at from time to time, half a millisecond for 256 of them.
 */
const CHAINS_MS = 1000

/** Two routers in one process (tests, demos) must not share a state. */
let routers = 0

export async function startRouter(options: RouterOptions): Promise<RunningRouter> {
  const control = new ControlPlane(options)
  try {
    return await control.start()
  } catch (error) {
    await control.close()
    throw error
  }
}

class ControlPlane {
  readonly log: Logger
  readonly #once = saidOnce()
  readonly state: SharedState
  readonly registry: PodRegistry
  readonly #stateName = `router-${threadId}-${++routers}`
  readonly #counters: CountersHandle
  readonly #prepareQueue: PrepareQueueHandle
  readonly #latency: LatencyHandle
  readonly #board: BoardHandle
  readonly #cacheAges = createCacheAges()
  readonly #decisionCounts = createDecisionCounts()
  readonly #decisions: DecisionWriter | undefined
  readonly #models: ModelTable
  readonly #health: HealthChecker
  readonly #scraper: Scraper
  readonly #bootstrap: MooncakeBootstrap
  readonly #kvEvents: KvEvents
  readonly #fleet: PodFleet
  readonly #discovery: Discovery
  readonly #workers: WorkerPool
  readonly #decider: Decider
  readonly #sums: CounterSums
  readonly #splits: SplitKeeper
  #admin: Admin | undefined
  #chains: NodeJS.Timeout | undefined
  /** Why the process should be replaced. */
  #broken: string | undefined
  #closing: Promise<void> | undefined

  constructor(private readonly options: RouterOptions) {
    this.log = createLogger(options.log)
    const addon = loadNative()
    this.state = addon.SharedState.open(this.#stateName, stateOptions(options))
    const workers = workersWanted(options)
    this.#counters = createCounters(options.cache.width, workers)
    // One more than workers: /explain prepares on the main thread.
    this.#prepareQueue = createPrepareQueue(
      workers + 1,
      options.limits.queuedPrepareBytes,
      concurrentPrepares(availableParallelism(), workers),
    )
    this.#latency = createLatencyMemory(options.cache.width, workers)
    this.#board = createBoard(options.cache.width)
    const board = new FleetBoard(this.#board)
    this.#kvEvents = new KvEvents({
      stateName: this.#stateName,
      dialIn: options.kvEvents,
      log: this.log,
      ages: this.#cacheAges,
      modelOf: name => this.#models.nameOf(name),
    })
    this.registry = new PodRegistry(
      this.state,
      (version, pods) => this.#publish(version, pods),
      options.kvEvents,
    )
    this.#models = new ModelTable(this.state, options, this.log)
    this.#bootstrap = new MooncakeBootstrap(this.registry, options.health, this.log)
    this.#health = new HealthChecker(this.registry, options.health, this.#healthEvents())
    this.#scraper = new Scraper(this.state, board.adapters, options.scrape, this.#scrapeEvents())
    this.#fleet = new PodFleet(this.registry, this.#health, this.#scraper)
    this.#discovery = new Discovery(sourcesOf(options.discovery, options.kvEvents), this.#fleet, this.log)
    this.#workers = new WorkerPool({
      onExit: (row, error) => this.#workerDied(row, error),
      onDecisions: batch => this.#decisions?.write(batch),
      onDoubt: pod => this.#bootstrap.doubt(pod),
    })
    this.#sums = new CounterSums(this.#counters)
    // /explain and the split learn nothing, so that they need no row of their own.
    const latency = new LatencyModel(this.#latency, 0, () => this.state.now())
    this.#splits = new SplitKeeper(
      {
        registry: this.registry,
        state: this.state,
        scraper: this.#scraper,
        latency,
        sentTokens: slot => this.#sums.prefillTokens(slot),
        log: this.log,
        now: () => performance.now(),
      },
      options.disaggregation,
    )
    const { decisionLog } = options
    this.#decisions =
      decisionLog && new DecisionWriter(decisionLog, new DecisionCounts(this.#decisionCounts), this.log)
    this.#decider = new Decider({
      lane: new LaneView(addon, this.state),
      profiles: resolveProfiles(options),
      workflows: options.workflows,
      defaultProfile: options.defaults.profile,
      asyncPrepareBytes: options.limits.asyncPrepareBytes,
      prepareQueue: new PrepareQueue(this.#prepareQueue, workers),
      latency,
      board: new FleetBoard(this.#board, true),
      now: () => this.state.now(),
      random: Math.random,
      onPluginFailed: (profile, plugin, error) =>
        logPluginFailure(this.log, this.#once, profile, plugin, error),
    })
  }

  async start(): Promise<RunningRouter> {
    const { listen, admin, pods } = this.options
    const { factory, reason } = await chooseListener(listen.engine)
    if (reason !== undefined) this.log.info(reason)
    const wanted = workersWanted(this.options)
    const count = factory.canShare ? wanted : 1
    if (count < wanted)
      this.log.warn(`one worker instead of ${wanted}: ${factory.name} cannot share a port here`)
    await this.#models.load()
    await this.#fleet.addAll(pods)
    await this.#discovery.start()
    this.#bootstrap.start()
    this.#chains = setInterval(() => this.#models.refreshChains(this.registry.pods), CHAINS_MS).unref()
    const port = await this.#startWorkers(count)
    this.#splits.start()
    this.#admin = await startAdmin({
      host: admin.host,
      port: admin.port,
      state: this.state,
      registry: this.registry,
      decider: this.#decider,
      look: new CacheLook(this.state, new CacheAges(this.#cacheAges)),
      decisionCounts: this.#decisions && new DecisionCounts(this.#decisionCounts),
      sums: this.#sums,
      splits: this.#splits,
      models: this.#models,
      prepareQueue: this.#prepareQueue,
      kvEvents: this.#kvEvents,
      scraper: this.#scraper,
      discovery: this.#discovery,
      add: spec => this.#fleet.addAll([spec]),
      remove: id => this.#fleet.remove([id]),
      broken: () => this.#broken,
      notReady: () => this.#notReady(),
      log: this.log,
    })
    this.log.info(
      `serving on http://${listen.host}:${port} with ${count} worker${count > 1 ? 's' : ''} (${factory.name}), admin on ${this.#admin.url}`,
    )
    return {
      url: `http://${hostText(listen.host)}:${port}`,
      adminUrl: this.#admin.url,
      close: () => this.close(),
    }
  }

  async #startWorkers(count: number): Promise<number> {
    let port = this.options.listen.port
    for (let row = 0; row < count; row++) {
      const birth: WorkerBirth = {
        options: this.options,
        stateName: this.#stateName,
        counters: this.#counters,
        prepareQueue: this.#prepareQueue,
        latency: this.#latency,
        board: this.#board,
        cacheAges: this.#cacheAges,
        decisionCounts: this.#decisionCounts,
        row,
        port,
        shared: count > 1,
        fleet: this.#fleetUpdate(this.registry.version, this.registry.infos()),
      }
      port = await this.#workers.start(birth)
    }
    return port
  }

  #publish(version: number, pods: readonly PodInfo[]): Promise<void> {
    const update = this.#fleetUpdate(version, pods)
    this.#decider.update(update)
    this.#kvEvents.follow(this.registry.pods)
    return this.#workers.broadcast(update)
  }

  #fleetUpdate(version: number, pods: readonly PodInfo[]): FleetUpdate {
    for (const model of pods.flatMap(pod => pod.models)) this.#models.learn(model)
    this.#models.refreshChains(this.registry.pods)
    const { list, entries } = this.#models.list(this.registry.pods)
    return { version, pods, models: this.#models.models, modelList: list, modelEntries: entries }
  }

  #healthEvents(): HealthEvents {
    return {
      onChange: (pod, healthy, reason) => {
        void this.#bootstrap.changed(pod, healthy)
        if (healthy) {
          this.log.info(`pod ${pod.id} is healthy`)
          // Started anew, perhaps with other blocks.
          this.#scraper.hurry(pod)
          this.#kvEvents.verify(pod.ref)
        } else this.log.warn(`pod ${pod.id} is out of service: ${reason ?? 'unknown'}`)
      },
      onModels: (pod, entries) => {
        this.#models.heard(entries)
        this.log.info(`pod ${pod.id} serves ${entries.map(entry => entry.id).join(', ')}`)
      },
    }
  }

  #scrapeEvents(): ScrapeEvents {
    return {
      onBlockSize: (pod, blockSize) => {
        this.log.debug(`pod ${pod.id} has blocks of ${blockSize} tokens`)
        this.#models.refreshChains(this.registry.pods)
      },
      onFault: (pod, reason) => {
        // One that is down is in the log already.
        if (pod.healthy === true && this.#once(`scrape ${pod.id}`))
          this.log.info(`pod ${pod.id} gives no metrics: it ${reason}`)
      },
    }
  }

  /** Why the router is not ready; undefined if it is. */
  #notReady(): string | undefined {
    if (this.#closing !== undefined) return 'shutting down'
    if (this.#broken !== undefined) return this.#broken
    if (!this.registry.pods.some(pod => pod.healthy === true && !pod.cordoned)) return 'no pod is ready'
    return undefined
  }

  /**
   * With uWebSockets.js the process is gone by now; with node:http the other workers go on. What the dead one had booked
   * is never given back, so that the load figures are wrong from here on: the process asks to be replaced.
   */
  #workerDied(row: number, error: Error): void {
    this.log.error({ err: error }, `worker ${row} died`)
    this.#broken = `worker ${row} died`
    forgetQueued(this.#prepareQueue, row)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#discovery.stop()
    this.#health.stop()
    this.#bootstrap.stop()
    this.#scraper.stop()
    this.#splits.stop()
    clearInterval(this.#chains)
    const cut = await this.#workers.drain(this.options.timeouts.drainMs)
    if (cut > 0) this.log.warn(`${cut} request(s) were cut off at the end of the drain`)
    await this.#decisions?.close()
    await this.#admin?.close()
    await this.#kvEvents.stop()
    loadNative().SharedState.close(this.#stateName)
  }
}

/** Four at most: one worker relays some 15,000 small requests a second, and each costs a heap and an event loop. */
function workersWanted({ listen }: RouterOptions): number {
  return listen.workers === 'auto' ? Math.min(availableParallelism(), 4) : listen.workers
}

const hostText = (host: string): string => {
  if (host === '0.0.0.0') return '127.0.0.1'
  if (host === '::') return '[::1]'
  return host.includes(':') ? `[${host}]` : host
}
