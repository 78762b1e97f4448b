/**
 * A worker thread: one listener on the shared port, one lane, one executor. It shares nothing with other workers but
 * the native state and its row of counters.
 *
 * An uncaught throw in a thread that runs uWebSockets.js ends the whole process, so errors are caught where a request
 * enters (the listener), and what still slips through is logged and survived here.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { CacheAges, CacheLook } from '../data/cache-ages.js'
import { FleetBoard } from '../data/fleet-board.js'
import { LaneView } from '../data/lane-view.js'
import { LatencyModel } from '../data/latency-model.js'
import { loadNative } from '../data/native.js'
import type { PodView } from '../data/pod-view.js'
import { PrepareQueue } from '../data/prepare-queue.js'
import { Answers } from '../execution/answers.js'
import { Executor } from '../execution/executor.js'
import { Selector } from '../execution/selector.js'
import { UpstreamClient } from '../execution/upstream/client.js'
import { Watchdog } from '../execution/watchdog.js'
import { Counters } from '../telemetry/counters.js'
import { DecisionCounts, LineBatcher } from '../telemetry/decision-log/channel.js'
import { createLogger, type Logger, saidOnce } from '../telemetry/log.js'
import { answerEvents } from './answer-events.js'
import { App, countingEvents } from './app.js'
import { Decider } from './decider.js'
import { DecisionSampler } from './decision-log.js'
import { Endpoints } from './endpoints.js'
import { engineDoubts } from './engine-doubts.js'
import { chooseListener } from './listener/choose.js'
import type { Listener } from './listener/listener.js'
import { observedAnswers, observedEvents } from './observers.js'
import { logPluginFailure } from './plugin-failures.js'
import { resolveProfiles } from './profiles.js'
import type { FromWorker, ToWorker, WorkerBirth } from './protocol.js'

const say = (message: FromWorker): void => parentPort?.postMessage(message)

class DataPlane {
  readonly #watchdog = new Watchdog()
  readonly #client: UpstreamClient
  readonly #executor: Executor
  readonly #app: App
  readonly #lines: LineBatcher
  #listener: Listener | undefined

  constructor(
    private readonly birth: WorkerBirth,
    private readonly onError: (error: unknown) => void,
    log: Logger,
  ) {
    const { options } = birth
    const addon = loadNative()
    const state = addon.SharedState.open(birth.stateName)
    const lane = new LaneView(addon, state)
    const counters = new Counters(birth.counters, birth.row)
    const latency = new LatencyModel(birth.latency, birth.row, () => state.now())
    const once = saidOnce()
    const decider = new Decider({
      lane,
      profiles: resolveProfiles(options),
      workflows: options.workflows,
      defaultProfile: options.defaults.profile,
      asyncPrepareBytes: options.limits.asyncPrepareBytes,
      prepareQueue: new PrepareQueue(birth.prepareQueue, birth.row),
      now: () => state.now(),
      latency,
      board: new FleetBoard(birth.board),
      random: Math.random,
      onPluginFailed(profile, plugin, error) {
        counters.pluginFailed()
        logPluginFailure(log, once, profile, plugin, error)
      },
    })
    const { connections, keepAliveMs } = options.upstream
    const { connectMs, firstByteMs, idleMs, requestMs } = options.timeouts
    const ages = new CacheAges(birth.cacheAges)
    this.#lines = new LineBatcher(new DecisionCounts(birth.decisionCounts), batch =>
      say({ type: 'decisions', batch }),
    )
    const sampler = this.#sampler(decider.pods, new CacheLook(state, ages), log)
    const doubted = engineDoubts(
      pod => say({ type: 'doubt', pod }),
      () => performance.now(),
    )
    this.#client = new UpstreamClient(
      { connections, keepAliveMs, connectMs, firstByteMs, idleMs },
      this.#watchdog,
    )
    this.#executor = new Executor({
      selector: new Selector(lane.native, decider.pods, { lane, latency }),
      pods: decider.pods,
      client: this.#client,
      events: observedEvents(countingEvents(counters), ages, sampler, doubted),
      answers: new Answers(
        lane.native,
        observedAnswers(answerEvents(counters, log), sampler),
        this.#watchdog,
      ),
      now: () => performance.now(),
      contexts: decider.contexts,
      watchdog: this.#watchdog,
      requestMs,
    })
    this.#app = new App({
      decider,
      executor: this.#executor,
      endpoints: new Endpoints(options.passthrough),
      counters,
      limits: options.limits,
      sampler,
    })
    this.#app.update(birth.fleet)
  }

  /** Undefined where nothing is sampled. */
  #sampler(pods: PodView, look: CacheLook, log: Logger): DecisionSampler | undefined {
    const { decisionLog, limits } = this.birth.options
    if (decisionLog === undefined || decisionLog.rate === 0) return undefined
    const once = saidOnce()
    return new DecisionSampler({
      rate: decisionLog.rate,
      prompt: decisionLog.prompt,
      matchBytes: limits.asyncPrepareBytes,
      pods,
      look,
      lines: this.#lines,
      random: Math.random,
      now: Date.now,
      onFault(error) {
        if (once('fault')) log.error({ err: error }, 'a line of the decision log could not be made')
      },
    })
  }

  async listen(): Promise<number> {
    const { options, port, shared } = this.birth
    const { factory } = await chooseListener(options.listen.engine)
    const { host, maxHeaderBytes } = options.listen
    this.#listener = factory.create({ host, port, shared, maxHeaderBytes, onError: this.onError }, exchange =>
      this.#app.handle(exchange),
    )
    return this.#listener.listen()
  }

  receive(message: ToWorker): void {
    if (message.type === 'fleet') {
      this.#app.update(message.update)
      this.#client.keepOnly(message.update.pods)
      say({ type: 'ack', version: message.update.version })
    } else void this.#drain(message.deadlineMs)
  }

  /** No new connections; requests under way have the deadline to finish; then everything goes, in order. */
  async #drain(deadlineMs: number): Promise<void> {
    const deadline = performance.now() + deadlineMs
    this.#listener?.stopAccepting()
    while ((this.#listener?.inFlight ?? 0) > 0 && performance.now() < deadline) await pause(20)
    const cut = this.#executor.cutOff()
    // The error answers of those cut off have a moment to leave.
    if (cut > 0) await pause(100)
    await this.#listener?.close()
    this.#lines.flush()
    await this.#client.destroy()
    this.#watchdog.stop()
    say({ type: 'drained', cut })
    parentPort?.close()
  }
}

const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))

async function start(birth: WorkerBirth): Promise<void> {
  const log = createLogger(birth.options.log, { worker: birth.row })
  process.on('uncaughtException', error => log.error({ err: error }, 'uncaught error in a worker'))
  process.on('unhandledRejection', error => log.error({ err: error }, 'unhandled rejection in a worker'))
  try {
    const plane = new DataPlane(birth, error => log.error({ err: error }, 'a request handler failed'), log)
    const port = await plane.listen()
    parentPort?.on('message', (message: ToWorker) => plane.receive(message))
    say({ type: 'listening', port })
  } catch (error) {
    say({ type: 'failed', message: error instanceof Error ? error.message : String(error) })
    parentPort?.close()
  }
}

const birth: WorkerBirth = workerData
await start(birth)
