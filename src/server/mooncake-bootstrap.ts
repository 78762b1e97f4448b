/**
 * Asks the bootstrap servers of Mooncake's prefill pods which engines they speak for, on the control plane: when a pod is
 * seen healthy, when a hand-off from it has failed, and again at the pace of health checks, since an engine that restarts
 * has another id and may be back before a check fails. Workers are told in PodInfo.
 *
 * An answer counts only as long as nothing was heard of its pod since it was asked for: the process that gives it may be
 * the one before a restart.
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
/**
 * Least ms between two questions because of failed hand-offs: a restart is over in one, and a pod that fails for another
 * reason is not to be asked for each of a thousand requests.
 */
const DOUBT_GAP_MS = 100

export interface BootstrapOptions {
  /** Between two questions to a pod, in ms. */
  readonly intervalMs: number
  /** For an answer, in ms. */
  readonly timeoutMs: number
}

/** A question to a pod's bootstrap server. */
interface Question {
  readonly stop: AbortController
  /** A hand-off has failed since: its answer may be of the time before. */
  isDoubted: boolean
}

export class MooncakeBootstrap {
  /** Under way, by the pod's name. */
  readonly #questions = new Map<string, Question>()
  /** When a pod was asked last because of a failed hand-off, and who will be asked for one. */
  readonly #doubtedAt = new WeakMap<Pod, number>()
  readonly #waiting = new Map<string, NodeJS.Timeout>()
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
    for (const timer of this.#waiting.values()) clearTimeout(timer)
    for (const { stop } of this.#questions.values()) stop.abort()
  }

  /** Asks all pods that hand over by Mooncake, each engine once however many ranks it has. */
  async askAll(): Promise<void> {
    const names = new Set(this.registry.pods.filter(handsOver).map(({ name }) => name))
    await Promise.all([...names].map(name => this.#ask(name)))
  }

  /** Asks one that has come (back), and forgets what was known of one that has gone. */
  async changed(pod: Pod, healthy: boolean): Promise<void> {
    if (!handsOver(pod)) return
    // Whoever was asked before the change may have been another process.
    this.#withdraw(pod.name)
    if (healthy) await this.#ask(pod.name)
    else
      await this.registry
        .setEngines(pod.name, undefined)
        .catch(error => this.log.error({ err: error }, 'workers were not told of a pod'))
  }

  /**
   * A hand-off has failed that may have been this pod's (by its id): its engine may be another one by now. Asked at once;
   * if it is being asked already, once more after that.
   */
  doubt(id: string): void {
    const pod = this.registry.byId(id)
    if (pod === undefined || !handsOver(pod) || this.#stopped) return
    const { name } = pod
    const question = this.#questions.get(name)
    if (question !== undefined) {
      question.isDoubted = true
      return
    }
    if (this.#waiting.has(name)) return
    const waitMs = (this.#doubtedAt.get(pod) ?? Number.NEGATIVE_INFINITY) + DOUBT_GAP_MS - performance.now()
    const ask = (): void => {
      this.#waiting.delete(name)
      this.#doubtedAt.set(pod, performance.now())
      void this.#ask(name)
    }
    if (waitMs <= 0) ask()
    else this.#waiting.set(name, setTimeout(ask, waitMs).unref())
  }

  async #ask(name: string): Promise<void> {
    const [pod] = this.registry.named(name)
    if (pod === undefined || pod.healthy === false || this.#questions.has(name)) return
    const question = { stop: new AbortController(), isDoubted: false }
    this.#questions.set(name, question)
    const isLatest = (): boolean => !this.#stopped && this.#questions.get(name) === question
    try {
      const engines = await this.#query(pod, question.stop.signal)
      if (isLatest() && this.registry.byId(pod.id) === pod) await this.#tell(pod, engines)
    } catch (error) {
      // What was known stays: the engine answers its health checks.
      if (isLatest())
        this.#say(
          pod,
          `its bootstrap server does not answer: ${error instanceof Error ? error.message : error}`,
        )
    } finally {
      if (this.#questions.get(name) === question) this.#questions.delete(name)
      if (question.isDoubted) this.doubt(pod.id)
    }
  }

  /** The answer to a question that is under way is not wanted any more. */
  #withdraw(name: string): void {
    this.#questions.get(name)?.stop.abort()
    this.#questions.delete(name)
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
  async #query({ origin, kvTransfer }: Pod, stop: AbortSignal): Promise<MooncakeEngines> {
    const url = `http://${bootstrapHost(origin)}:${kvTransfer.bootstrapPort}${MOONCAKE_QUERY_PATH}`
    const signal = AbortSignal.any([stop, AbortSignal.timeout(this.options.timeoutMs)])
    const { statusCode, body } = await request(url, { signal })
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
