/**
 * The control plane's list of pods: the one place that adds and removes them, for static configuration, the admin API
 * and (later) discovery alike. It lives on the main thread; workers get each new version broadcast and acknowledge it.
 *
 * A pod is picked only once every worker knows it, and its slot is reused only after every worker has let go:
 * `broadcast` resolves when all have acknowledged.
 */
import { isPodRef, type PodRef, type SharedState } from './native.js'
import { type PodUrl, parsePodUrl, podIdOf } from './pod-url.js'
import type { PodInfo } from './pod-view.js'

/** What an operator says of a pod. */
export interface PodSpec {
  /** `http(s)://host:port`, perhaps with a base path. */
  readonly url: string
  /** Defaults to host:port and the base path, if there is one. */
  readonly id?: string | undefined
  /** Models it serves; if absent, its own `/v1/models` says. */
  readonly models?: readonly string[] | undefined
  readonly labels?: Readonly<Record<string, string>> | undefined
  /** Most requests in flight on it, over all workers; 0 or absent = no limit. */
  readonly maxInflight?: number | undefined
}

/** A pod as the control plane sees it. */
export interface Pod {
  readonly ref: PodRef
  readonly id: string
  readonly url: string
  readonly origin: string
  readonly basePath: string
  readonly labels: Readonly<Record<string, string>>
  /** Most requests in flight on it; 0 = no limit. */
  readonly maxInflight: number
  /** Told by the operator: the pod's own list is then ignored. */
  readonly fixedModels: boolean
  models: readonly string[]
  /** Cordoned by an operator. */
  cordoned: boolean
  /** Judged by the health checker; undefined before the first check. */
  healthy: boolean | undefined
  /** Why it is not healthy. */
  reason: string | undefined
}

/** Sends a version of the list to all workers; resolves when all have taken it. */
export type Broadcast = (version: number, pods: readonly PodInfo[]) => Promise<void>

export class PodRegistry {
  readonly #pods = new Map<string, Pod>()
  #version = 0

  constructor(
    readonly state: SharedState,
    private readonly broadcast: Broadcast,
  ) {}

  get pods(): readonly Pod[] {
    return [...this.#pods.values()]
  }

  /** What the workers are told of the pods. */
  infos(): PodInfo[] {
    return this.pods.map(toInfo)
  }

  get version(): number {
    return this.#version
  }

  byId(id: string): Pod | undefined {
    return this.#pods.get(id)
  }

  /** Adds a pod; it takes requests once all workers know it. Throws on a bad URL, a known id or a full table. */
  async add(spec: PodSpec): Promise<Pod> {
    const url = podUrl(spec.url)
    const id = spec.id ?? podIdOf(url)
    if (this.#pods.has(id)) throw new Error(`pod '${id}' exists already; give another id or delete it first`)
    const pod: Pod = {
      ref: this.state.addPod(id),
      id,
      url: spec.url,
      origin: url.origin,
      basePath: url.basePath,
      labels: spec.labels ?? {},
      maxInflight: spec.maxInflight ?? 0,
      fixedModels: spec.models !== undefined && spec.models.length > 0,
      models: spec.models ?? [],
      cordoned: false,
      healthy: undefined,
      reason: undefined,
    }
    this.#pods.set(id, pod)
    await this.#publishNew(pod)
    // Deleted while the workers were learning of it: it must not come alive.
    if (this.#pods.get(id) === pod) {
      this.state.activatePod(pod.ref)
      this.#applyReadiness(pod)
    }
    return pod
  }

  /** A pod that could not be told to the workers (a model of its that does not load) must not stay behind. */
  async #publishNew(pod: Pod): Promise<void> {
    try {
      await this.publish()
    } catch (error) {
      await this.remove(pod.id)
      throw error
    }
  }

  /** Takes a pod out of every decision at once; running streams finish. False if there is none of that id. */
  async remove(id: string): Promise<boolean> {
    const pod = this.#pods.get(id)
    if (pod === undefined) return false
    this.#pods.delete(id)
    this.state.removePod(pod.ref)
    await this.publish()
    this.state.releasePod(pod.ref)
    return true
  }

  /** No new requests for a pod (or again some); running streams finish. */
  cordon(id: string, cordoned: boolean): boolean {
    const pod = this.#pods.get(id)
    if (pod === undefined) return false
    pod.cordoned = cordoned
    this.#applyReadiness(pod)
    return true
  }

  /** The health checker's verdict. A pod starts as usable: traffic should not wait for a first check. */
  setHealth(pod: Pod, healthy: boolean, reason: string | undefined): void {
    // An engine that comes back is one that was restarted, mostly: its cache is empty.
    if (!healthy && pod.healthy !== false) this.state.forgetPredicted(pod.ref)
    pod.healthy = healthy
    pod.reason = reason
    this.#applyReadiness(pod)
  }

  /** Would the pod's own list of models change what is known of it? */
  differs(pod: Pod, models: readonly string[]): boolean {
    return !pod.fixedModels && !sameList(pod.models, models)
  }

  /** Takes over the pod's own list of models and tells the workers. */
  async setModels(pod: Pod, models: readonly string[]): Promise<void> {
    pod.models = models
    await this.publish()
  }

  /** Sends the present list to the workers. */
  async publish(): Promise<void> {
    this.#version += 1
    await this.broadcast(this.#version, this.infos())
  }

  #applyReadiness(pod: Pod): void {
    if (isPodRef(pod.ref)) this.state.cordonPod(pod.ref, pod.cordoned || pod.healthy === false)
  }
}

function toInfo(pod: Pod): PodInfo {
  const { ref, id, origin, basePath, models, labels, maxInflight } = pod
  return { ref, id, origin, basePath, models, labels, maxInflight }
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i])
}

/** A pod's URL as an operator wrote it; the error says how it should look. */
function podUrl(text: string): PodUrl {
  const url = parsePodUrl(text)
  if ('origin' in url) return url
  throw new Error(url.fix === undefined ? url.fault : `${url.fault}; ${url.fix}`)
}
