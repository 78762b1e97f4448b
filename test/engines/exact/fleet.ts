/** Two engines with small caches and KV events, and a router that follows them; each can be restarted. */
import { setTimeout } from 'node:timers/promises'
import type OpenAI from 'openai'
import { freePorts } from '../../free-port.js'
import { type Engine, ready, VLLM_MODEL } from '../engine.js'
import { cacheOf, isHealthy, type PodCache } from '../explain.js'
import { clientOf, post } from '../fleet.js'
import { type Case, type Report, runCases, step, until } from '../harness.js'
import { type FleetConfig, type Router, startRouter } from '../router.js'
import type { EngineKind, EnginePorts, StartOptions } from './kind.js'
import { measure } from './measure.js'
import { Tally } from './tally.js'
import { Traffic } from './traffic.js'

export type ExactCase = Case<ExactFleet>

/** Events and replays take milliseconds; a machine that others keep busy may take seconds. */
const SETTLED_MS = 20_000
/** Of the order of conversations and turns. */
const SEED = 5

export interface PodStart {
  readonly name: string
  readonly ports: EnginePorts
  readonly options: StartOptions
}

export class ExactFleet {
  readonly engines = new Map<string, Engine>()
  /** All requests sent one after the other, or a few at a time, for the count over all. */
  readonly total = new Tally()
  readonly traffic: Traffic
  #router: Router | undefined
  #client: OpenAI | undefined

  constructor(
    readonly kind: EngineKind,
    readonly modelDir: string,
    readonly pods: readonly PodStart[],
  ) {
    this.traffic = new Traffic(SEED, kind.keepsTools)
  }

  get router(): Router {
    if (this.#router === undefined) throw new Error('the router does not run')
    return this.#router
  }

  get client(): OpenAI {
    if (this.#client === undefined) throw new Error('the router does not run')
    return this.#client
  }

  /** Ids of the router's pods: an engine's ranks are pods of their own. */
  get podIds(): readonly string[] {
    return this.pods.flatMap(({ name, options: { dataParallel = 1 } }) =>
      dataParallel === 1 ? [name] : Array.from({ length: dataParallel }, (_, rank) => `${name}-dp${rank}`),
    )
  }

  engine(name: string): Engine {
    const engine = this.engines.get(name)
    if (engine === undefined) throw new Error(`no engine is named ${name}`)
    return engine
  }

  async startEngines(): Promise<void> {
    const started = performance.now()
    for (const { name, ports, options } of this.pods)
      this.engines.set(name, this.kind.start(name, ports, options))
    await ready([...this.engines.values()], started)
  }

  /** Starts an engine anew on the ports that it had. */
  async restartEngine(name: string, options: StartOptions): Promise<void> {
    const pod = this.pods.find(candidate => candidate.name === name)
    if (pod === undefined) throw new Error(`no engine is named ${name}`)
    const engine = this.kind.start(name, pod.ports, options)
    this.engines.set(name, engine)
    await ready([engine], performance.now())
  }

  async startRouter(): Promise<void> {
    const name = `router-${this.kind.label}`
    this.#router = await startRouter(name, this.#config(), [VLLM_MODEL])
    this.#client = clientOf(this.#router.url)
  }

  async stopRouter(): Promise<void> {
    await this.#router?.process.stop()
    this.#router = undefined
  }

  async stop(): Promise<void> {
    // The router first: it should not see its pods go.
    await this.stopRouter()
    await Promise.all([...this.engines.values()].map(engine => engine.process.stop()))
  }

  evidence(): string {
    const processes = [this.#router, ...this.engines.values()].flatMap(each =>
      each === undefined ? [] : [each.process.evidence()],
    )
    return processes.join('\n')
  }

  cache(pod: string): Promise<PodCache> {
    return cacheOf(this.router, pod)
  }

  /** Waits until what is known of a pod's cache is so. */
  settled(pod: string, what: string, isSo: (cache: PodCache) => boolean): Promise<PodCache> {
    return until(SETTLED_MS, `${pod}: ${what}`, async () => {
      const cache = await this.cache(pod)
      return isSo(cache) ? cache : undefined
    })
  }

  /** Waits until every pod is known exactly. */
  async allExact(): Promise<void> {
    for (const pod of this.podIds) await this.settled(pod, 'is exact', ({ mode }) => mode === 'exact')
  }

  /** Sends that many requests of the conversations, so many at a time. */
  async send(requests: number, concurrency = 1): Promise<Tally> {
    const tally = new Tally()
    let left = requests
    const worker = async (): Promise<void> => {
      while (left > 0) {
        left--
        if (!(await this.#turn(tally))) left++
      }
    }
    await Promise.all(Array.from({ length: concurrency }, worker))
    tally.requireCounts()
    return tally
  }

  async #turn(tally: Tally): Promise<boolean> {
    const { eventDelayMs } = this.kind
    const turn = this.traffic.take()
    if (eventDelayMs > 0) await setTimeout(eventDelayMs)
    const measured = await measure(this, turn, this.kind)
    this.traffic.done(turn, measured?.text)
    if (measured !== undefined) tally.add(measured)
    return measured !== undefined
  }

  /** A request past the router. `tokens` ids from `first` on, which nothing else has. */
  async sendPast(engine: Engine, first: number, tokens: number): Promise<void> {
    const answer = await post(engine.url, '/v1/completions', promptOf(first, tokens))
    if (answer.status !== 200) throw new Error(`${engine.name} answers ${answer.status}: ${answer.text}`)
  }

  async reset(engine: Engine): Promise<void> {
    const answer = await post(engine.url, this.kind.resetPath, '')
    if (answer.status !== 200) throw new Error(`${engine.name} answers ${answer.status}: ${answer.text}`)
  }

  /** Waits until the router has found a pod healthy, and it takes requests. */
  async inService(pod: string): Promise<void> {
    await until(
      SETTLED_MS,
      `${pod} is in service`,
      async () => (await isHealthy(this.router, pod)) || undefined,
    )
  }

  async cordon(pod: string, on: boolean): Promise<void> {
    await post(this.router.adminUrl, `/pods/${pod}/${on ? 'cordon' : 'uncordon'}`, '')
  }

  #config(): FleetConfig {
    return {
      pods: this.pods.map(({ name, ports: { port, events, replay }, options: { dataParallel = 1 } }) => ({
        id: name,
        url: `http://127.0.0.1:${port}`,
        kvEvents: { endpoint: `tcp://127.0.0.1:${events}`, replay: `tcp://127.0.0.1:${replay}` },
        dataParallel,
      })),
      // No block size: the engines tell theirs.
      models: [{ name: VLLM_MODEL, dir: this.modelDir, profile: 'cache-aware' }],
      // Both pods take their part from the first request on.
      slowStartMs: 0,
    }
  }
}

/** A prompt of token ids that begins with none that a conversation begins with. */
export const promptOf = (first: number, tokens: number) => ({
  model: VLLM_MODEL,
  prompt: Array.from({ length: tokens }, (_, i) => 1_000 + ((first + i) % 100_000)),
  max_tokens: 1,
  temperature: 0,
})

/** Starts engines of a kind and a router, runs the cases and ends all of it. */
export async function runFleet(
  kind: EngineKind,
  modelDir: string,
  pods: readonly (StartOptions & { name: string })[],
  cases: readonly ExactCase[],
): Promise<Report> {
  const fleet = await startFleet(kind, modelDir, pods)
  try {
    return await runCases(cases, fleet, () => fleet.evidence())
  } finally {
    await fleet.stop()
  }
}

async function startFleet(
  kind: EngineKind,
  modelDir: string,
  pods: readonly (StartOptions & { name: string })[],
): Promise<ExactFleet> {
  const starts: PodStart[] = []
  for (const { name, ...options } of pods) starts.push({ name, ports: await portsFor(options), options })
  const fleet = new ExactFleet(kind, modelDir, starts)
  await step(`starting ${pods.map(({ name }) => name).join(' and ')} (${kind.label})`, () =>
    fleet.startEngines(),
  )
  await fleet.startRouter()
  return fleet
}

async function portsFor({ dataParallel = 1 }: StartOptions): Promise<EnginePorts> {
  const port = await freePorts(1)
  // One after the other, a rank's replay port would be the next rank's event port.
  return { port, events: await freePorts(dataParallel), replay: await freePorts(dataParallel) }
}
