/**
 * Active health checks, on the control plane: asks each pod's health path and its `/v1/models` in turn, jittered so
 * that a fleet's checks do not come in bursts. Workers see the outcome only as readiness and model lists.
 */
import { request } from 'undici'
import { z } from 'zod'
import type { Pod, PodRegistry } from './pod-registry.js'

export interface HealthOptions {
  readonly intervalMs: number
  readonly timeoutMs: number
  /** Asked with GET; any 2xx is healthy. */
  readonly path: string
  /** Failed checks in a row that take a pod out. */
  readonly unhealthyAfter: number
  /** Good checks in a row that bring it back. */
  readonly healthyAfter: number
}

/** The part of an OpenAI model list that is relied on; everything else passes through untouched. */
const modelList = z.object({ data: z.array(z.looseObject({ id: z.string() })) })
export type ModelEntry = z.infer<typeof modelList>['data'][number]

export interface HealthEvents {
  /** A pod went out of or came back into service. */
  onChange(pod: Pod, healthy: boolean, reason: string | undefined): void
  /** A pod's model list changed; called before the registry is published. */
  onModels(pod: Pod, entries: readonly ModelEntry[]): Promise<void> | void
}

/** Most bytes of a pod's model list: vLLM's entry of an adapter has 500, so that these are some thousands. */
const MODEL_LIST_BYTES = 2 * 2 ** 20

interface Track {
  failures: number
  successes: number
  timer: NodeJS.Timeout | undefined
}

export class HealthChecker {
  readonly #tracks = new Map<Pod, Track>()
  #stopped = false

  constructor(
    private readonly registry: PodRegistry,
    private readonly options: HealthOptions,
    private readonly events: HealthEvents,
    private readonly random: () => number = Math.random,
  ) {}

  /** Starts checking a pod, at once, unless it was removed while it was being added; resolves after the first check. */
  async watch(pod: Pod): Promise<void> {
    if (this.registry.byId(pod.id) !== pod) return
    this.#tracks.set(pod, { failures: 0, successes: 0, timer: undefined })
    await this.#check(pod)
  }

  forget(pod: Pod): void {
    clearTimeout(this.#tracks.get(pod)?.timer)
    this.#tracks.delete(pod)
  }

  stop(): void {
    this.#stopped = true
    for (const pod of [...this.#tracks.keys()]) this.forget(pod)
  }

  async #check(pod: Pod): Promise<void> {
    const fault = await this.#probe(pod).catch(describe)
    const track = this.#tracks.get(pod)
    if (track === undefined || this.#stopped) return
    this.#judge(pod, track, fault)
    // ±20 %: enough that pods added together drift apart within a few rounds.
    const delay = this.options.intervalMs * (0.8 + 0.4 * this.random())
    track.timer = setTimeout(() => void this.#check(pod), delay)
    track.timer.unref()
  }

  /** Undefined if all is well, else what is wrong. */
  async #probe(pod: Pod): Promise<string | undefined> {
    const health = await this.#get(pod, this.options.path)
    await health.body.dump()
    if (health.statusCode < 200 || health.statusCode > 299)
      return `${this.options.path} answered ${health.statusCode}`
    if (!pod.fixedModels) await this.#readModels(pod)
    return undefined
  }

  async #readModels(pod: Pod): Promise<void> {
    const answer = await this.#get(pod, '/v1/models')
    if (answer.statusCode !== 200) return void (await answer.body.dump())
    const parsed = modelList.safeParse(JSON.parse(await textOf(answer.body)))
    if (!parsed.success) throw new Error('/v1/models is not a model list')
    const entries = parsed.data.data
    const names = entries.map(entry => entry.id)
    if (!this.registry.differs(pod, names)) return
    // First, so that models that cannot be served (their files do not load) are not taken over, now or later.
    await this.events.onModels(pod, entries)
    await this.registry.setModels(pod, names)
  }

  #get(pod: Pod, path: string) {
    const signal = AbortSignal.timeout(this.options.timeoutMs)
    return request(`${pod.origin}${pod.basePath}${path}`, { signal, reset: false })
  }

  #judge(pod: Pod, track: Track, fault: string | undefined): void {
    if (fault === undefined) {
      track.failures = 0
      track.successes += 1
      const back = pod.healthy === undefined || track.successes >= this.options.healthyAfter
      if (pod.healthy !== true && back) this.#set(pod, true, undefined)
      return
    }
    track.successes = 0
    track.failures += 1
    if (pod.healthy !== false && track.failures >= this.options.unhealthyAfter) this.#set(pod, false, fault)
  }

  #set(pod: Pod, healthy: boolean, reason: string | undefined): void {
    this.registry.setHealth(pod, healthy, reason)
    this.events.onChange(pod, healthy, reason)
  }
}

/** The whole body; throws where it is no list of models by its length already. */
async function textOf(body: AsyncIterable<Buffer>): Promise<string> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of body) {
    bytes += piece.length
    if (bytes > MODEL_LIST_BYTES) throw new Error(`/v1/models is over ${MODEL_LIST_BYTES} bytes`)
    pieces.push(piece)
  }
  return Buffer.concat(pieces).toString()
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  const code = 'code' in error ? String(error.code) : ''
  return code === '' ? error.message : `${error.message} (${code})`
}
