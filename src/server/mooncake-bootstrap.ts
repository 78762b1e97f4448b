/**
 * Asks the bootstrap servers of Mooncake's prefill pods which engines they speak for, on the control plane: when a pod is
 * seen healthy, and again at the pace of health checks, since an engine that restarts has another id and may be back
 * before a check fails. Workers are told in PodInfo.
 */
import { request } from 'undici'
import type { Pod, PodRegistry } from '../data/pod-registry.js'
import { takesStep } from '../data/pod-role.js'
import { isHandOffFault } from '../execution/hand-off/fault.js'
import { bootstrapHost } from '../execution/hand-off/sglang.js'
import {
  MOONCAKE_QUERY_PATH,
  type MooncakeEngines,
  readMooncakeEngines,
} from '../execution/hand-off/vllm-mooncake.js'
import { type Logger, saidOnce } from '../telemetry/log.js'

/** Most bytes of an answer: an entry of one rank with eight workers is some 500. */
const MOST_BYTES = 4 * 2 ** 20

export interface BootstrapOptions {
  /** Between two questions to a pod, in ms. */
  readonly intervalMs: number
  /** For an answer, in ms. */
  readonly timeoutMs: number
}

export class MooncakeBootstrap {
  /** Names of pods that are being asked. */
  readonly #asking = new Set<string>()
  readonly #once = saidOnce()
  #timer: NodeJS.Timeout | undefined
  #stopped = false

  constructor(
    private readonly registry: PodRegistry,
    private readonly options: BootstrapOptions,
    private readonly log: Logger,
  ) {}

  start(): void {
    this.#timer = setInterval(() => void this.askAll(), this.options.intervalMs).unref()
  }

  stop(): void {
    this.#stopped = true
    clearInterval(this.#timer)
  }

  /** Asks all pods that hand over by Mooncake, each engine once however many ranks it has. */
  async askAll(): Promise<void> {
    const names = new Set(this.registry.pods.filter(handsOver).map(({ name }) => name))
    await Promise.all([...names].map(name => this.#ask(name)))
  }

  /** Asks one that has come (back), and forgets what was known of one that has gone. */
  async changed(pod: Pod, healthy: boolean): Promise<void> {
    if (!handsOver(pod)) return
    if (healthy) await this.#ask(pod.name)
    else
      await this.registry
        .setEngines(pod.name, undefined)
        .catch(error => this.log.error({ err: error }, 'workers were not told of a pod'))
  }

  async #ask(name: string): Promise<void> {
    const [pod] = this.registry.named(name)
    if (pod === undefined || pod.healthy === false || this.#asking.has(name)) return
    this.#asking.add(name)
    try {
      const engines = await this.#query(pod)
      if (!this.#stopped && this.registry.byId(pod.id) === pod) await this.#tell(pod, engines)
    } catch (error) {
      // What was known stays: the engine answers its health checks.
      this.#say(
        pod,
        `its bootstrap server does not answer: ${error instanceof Error ? error.message : error}`,
      )
    } finally {
      this.#asking.delete(name)
    }
  }

  async #tell(pod: Pod, engines: MooncakeEngines): Promise<void> {
    if (pod.rank === undefined && engines.size > 1) {
      const fix = `set dataParallel: ${engines.size} for it, so that requests can name one`
      this.#say(pod, `its bootstrap server knows ${engines.size} ranks; ${fix}`)
      return this.registry.setEngines(pod.name, undefined)
    }
    await this.registry.setEngines(pod.name, engines)
  }

  /** @throws an Error where the answer is none */
  async #query({ origin, kvTransfer }: Pod): Promise<MooncakeEngines> {
    const url = `http://${bootstrapHost(origin)}:${kvTransfer.bootstrapPort}${MOONCAKE_QUERY_PATH}`
    const { statusCode, body } = await request(url, { signal: AbortSignal.timeout(this.options.timeoutMs) })
    const pieces: Buffer[] = []
    let bytes = 0
    for await (const piece of body) {
      if (!Buffer.isBuffer(piece)) continue
      bytes += piece.length
      if (bytes > MOST_BYTES) throw new Error(`${url} answered more than ${MOST_BYTES} bytes`)
      pieces.push(piece)
    }
    if (statusCode !== 200) throw new Error(`${url} answered ${statusCode}`)
    const engines = readMooncakeEngines(Buffer.concat(pieces))
    if (isHandOffFault(engines)) throw new Error(engines.text)
    return engines
  }

  #say(pod: Pod, what: string): void {
    if (this.#once(`${pod.name} ${what}`)) this.log.warn(`pod ${pod.name} takes no prefill steps: ${what}`)
  }
}

/** Whatever it is assigned to: that may change while it serves. */
const handsOver = ({ role, kvTransfer }: Pod): boolean =>
  kvTransfer.connector === 'mooncake' && takesStep({ role }, 'prefill')
