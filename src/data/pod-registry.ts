/**
 * The control plane's list of pods: the one place that adds and removes them, for static configuration, the admin API
 * and discovery alike. It lives on the main thread; workers get each new version broadcast and acknowledge it.
 *
 * A pod is picked only once every worker knows it, and its slot is reused only after every worker has let go:
 * `broadcast` resolves when all have acknowledged.
 */
import { isPodRef, type SharedState } from './native.js'
import { infoOf, isTaken, makePod, namesOf, type Pod, type PodSpec, ranksOf } from './pod.js'
import { type FleetKvEvents, NO_KV_EVENTS } from './pod-events.js'
import type { Assignment } from './pod-role.js'
import type { PodInfo } from './pod-view.js'

export type { Pod, PodSpec } from './pod.js'

/** Sends a version of the list to all workers; resolves when all have taken it. */
export type Broadcast = (version: number, pods: readonly PodInfo[]) => Promise<void>

/** What became of a pod that was to be added: it (its ranks), or why not. */
export type Entry = { readonly pods: readonly Pod[] } | { readonly fault: string }

export class PodRegistry {
  readonly #pods = new Map<string, Pod>()
  #version = 0

  constructor(
    readonly state: SharedState,
    private readonly broadcast: Broadcast,
    readonly fleetEvents: FleetKvEvents = NO_KV_EVENTS,
  ) {}

  get pods(): readonly Pod[] {
    return [...this.#pods.values()]
  }

  /** What the workers are told of the pods. */
  infos(): PodInfo[] {
    return this.pods.map(infoOf)
  }

  get version(): number {
    return this.#version
  }

  byId(id: string): Pod | undefined {
    return this.#pods.get(id)
  }

  /** Pods of a name: one, or all ranks of a data-parallel engine; an id names its pod alone. */
  named(name: string): readonly Pod[] {
    const pod = this.#pods.get(name)
    return pod === undefined ? this.pods.filter(each => each.name === name) : [pod]
  }

  /** As `addAll`, for one; of a data-parallel engine the first rank is answered. */
  async add(spec: PodSpec): Promise<Pod> {
    const [pod] = await this.addAll([spec])
    if (pod === undefined) throw new Error('a pod has one rank at least')
    return pod
  }

  /**
   * Adds pods, all of them or none; they take requests once all workers know them. Throws on a bad URL, a known id or a
   * full table.
   */
  async addAll(specs: readonly PodSpec[]): Promise<readonly Pod[]> {
    const entries = specs.map(spec => this.#enter(spec))
    const added = entries.flatMap(podsIn)
    const refused = entries.find(entry => 'fault' in entry)
    if (refused !== undefined) {
      this.#withdraw(added)
      throw new Error(refused.fault)
    }
    await this.#announce(added)
    return added
  }

  /** As `addAll`, but each for itself; answers for each what became of it. */
  async addEach(specs: readonly PodSpec[]): Promise<readonly Entry[]> {
    const entries = specs.map(spec => this.#enter(spec))
    await this.#announce(entries.flatMap(podsIn))
    return entries
  }

  /** Enters all ranks of a pod, or none. Nobody knows of them yet. */
  #enter(spec: PodSpec): Entry {
    const pods: Pod[] = []
    try {
      for (const rank of ranksOf(spec)) pods.push(this.#enterRank(spec, rank))
      return { pods }
    } catch (error) {
      this.#withdraw(pods)
      return { fault: error instanceof Error ? error.message : String(error) }
    }
  }

  #enterRank(spec: PodSpec, rank: number | undefined): Pod {
    const names = namesOf(spec, rank)
    if (this.pods.some(pod => isTaken(pod, names)))
      throw new Error(`pod '${names.id}' exists already; give another id or delete it first`)
    const pod = makePod(spec, names, this.state.addPod(names.id), this.fleetEvents)
    this.#pods.set(pod.id, pod)
    return pod
  }

  /** Takes back pods that no worker has been told of. */
  #withdraw(pods: readonly Pod[]): void {
    for (const { id, ref } of pods) {
      this.#pods.delete(id)
      this.state.removePod(ref)
      this.state.releasePod(ref)
    }
  }

  /** Tells the workers of new pods, and lets them take requests then. */
  async #announce(pods: readonly Pod[]): Promise<void> {
    if (pods.length === 0) return
    try {
      await this.publish()
    } catch (error) {
      // Whom the workers cannot be told of must not stay behind.
      await this.#drop(pods)
      throw error
    }
    for (const pod of pods) {
      // Deleted while the workers were learning of it: it must not come alive.
      if (this.#pods.get(pod.id) !== pod) continue
      this.state.activatePod(pod.ref)
      this.#applyReadiness(pod)
    }
  }

  /** Takes a pod out of every decision at once; running streams finish. False if there is none of that name. */
  async remove(name: string): Promise<boolean> {
    return (await this.removeAll([name])).length > 0
  }

  /** As `remove`, for several; answers the pods that there were. */
  async removeAll(names: readonly string[]): Promise<readonly Pod[]> {
    const gone = names.flatMap(name => this.named(name))
    await this.#drop(gone)
    return gone
  }

  async #drop(pods: readonly Pod[]): Promise<void> {
    const known = pods.filter(pod => this.#pods.get(pod.id) === pod)
    if (known.length === 0) return
    for (const pod of known) {
      this.#pods.delete(pod.id)
      this.state.removePod(pod.ref)
    }
    await this.publish()
    for (const pod of known) this.state.releasePod(pod.ref)
  }

  /** No new requests for a pod (or again some); running streams finish. False if there is none of that name. */
  cordon(name: string, cordoned: boolean): boolean {
    const pods = this.named(name)
    for (const pod of pods) {
      pod.cordoned = cordoned
      this.#applyReadiness(pod)
    }
    return pods.length > 0
  }

  /** Takes over labels, limits and models for pods by name; whatever else a spec says needs a new pod. */
  async update(changes: ReadonlyMap<string, PodSpec>): Promise<void> {
    for (const [name, { labels = {}, maxInflight = 0, models = [], role = 'mixed' }] of changes) {
      for (const pod of this.named(name)) {
        pod.labels = labels
        pod.maxInflight = maxInflight
        pod.role = role
        if (role !== 'both') pod.assigned = undefined
        pod.fixedModels = models.length > 0
        // What the pod itself says of its models holds until it is asked again.
        if (pod.fixedModels) pod.models = models
      }
    }
    await this.publish()
  }

  /**
   * Keeps pods of role `both` to one step of requests, or (undefined) gives them both again; resolves when all workers
   * know. What is under way on them goes on. Pods that are gone, or have another role by now, are left alone.
   */
  async assign(assignments: ReadonlyMap<Pod, Assignment | undefined>): Promise<void> {
    for (const [pod, assigned] of assignments) {
      if (this.#pods.get(pod.id) === pod && pod.role === 'both') pod.assigned = assigned
    }
    await this.publish()
  }

  /** The health checker's verdict. A pod starts as usable: traffic should not wait for a first check. */
  setHealth(pod: Pod, healthy: boolean, reason: string | undefined): void {
    // An engine that comes back is one that was restarted, mostly: its cache is empty. Its events may tell otherwise.
    if (!healthy && pod.healthy !== false) this.state.podLost(pod.ref, this.#hasReplay(pod))
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

  /** Takes over what a pod's bootstrap server says of its engines (all ranks of the pod), and tells the workers. */
  async setEngines(name: string, engines: ReadonlyMap<number, string> | undefined): Promise<void> {
    const pods = this.named(name).filter(({ kvTransfer }) => !sameEngines(kvTransfer.engines, engines))
    if (pods.length === 0) return
    for (const pod of pods) pod.kvTransfer = { ...pod.kvTransfer, engines }
    await this.publish()
  }

  /** Sends the present list to the workers. */
  async publish(): Promise<void> {
    this.#version += 1
    await this.broadcast(this.#version, this.infos())
  }

  /** Whether batches can be asked for again: of its own publisher, or if it has none, as of all engines that dial in. */
  #hasReplay({ kvEvents }: Pod): boolean {
    return kvEvents === undefined ? this.fleetEvents.replayPort !== 0 : kvEvents.replay !== undefined
  }

  #applyReadiness(pod: Pod): void {
    if (isPodRef(pod.ref)) this.state.cordonPod(pod.ref, pod.cordoned || pod.healthy === false)
  }
}

function sameEngines(a: ReadonlyMap<number, string> | undefined, b: typeof a): boolean {
  if (a === undefined || b === undefined) return a === b
  return a.size === b.size && [...a].every(([rank, id]) => b.get(rank) === id)
}

function sameList(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((item, i) => item === b[i])
}

const podsIn = (entry: Entry): readonly Pod[] => ('pods' in entry ? entry.pods : [])
