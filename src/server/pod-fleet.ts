/** Pods as they come and go: the registry, and who looks after each pod that is in it. */
import type { Fleet } from '../data/discovery/reconciler.js'
import type { HealthChecker } from '../data/health.js'
import type { Entry, Pod, PodRegistry, PodSpec } from '../data/pod-registry.js'
import type { Scraper } from '../data/scrape/scraper.js'

export class PodFleet implements Fleet {
  constructor(
    private readonly registry: PodRegistry,
    private readonly health: HealthChecker,
    private readonly scraper: Scraper,
  ) {}

  get pods(): readonly Pod[] {
    return this.registry.pods
  }

  named(name: string): readonly Pod[] {
    return this.registry.named(name)
  }

  /** Adds pods, all or none; resolves when each was checked once, which tells its models. */
  async addAll(specs: readonly PodSpec[]): Promise<readonly Pod[]> {
    const pods = await this.registry.addAll(specs)
    await this.#watch(pods)
    return pods
  }

  /** As `addAll`, but each for itself. */
  async add(specs: readonly PodSpec[]): Promise<readonly Entry[]> {
    const entries = await this.registry.addEach(specs)
    await this.#watch(entries.flatMap(entry => ('pods' in entry ? entry.pods : [])))
    return entries
  }

  /** True if there was any of these. */
  async remove(names: readonly string[]): Promise<boolean> {
    for (const pod of names.flatMap(name => this.registry.named(name))) {
      this.health.forget(pod)
      this.scraper.forget(pod)
    }
    return (await this.registry.removeAll(names)).length > 0
  }

  update(changes: ReadonlyMap<string, PodSpec>): Promise<void> {
    return this.registry.update(changes)
  }

  cordon(name: string, cordoned: boolean): void {
    this.registry.cordon(name, cordoned)
  }

  async #watch(pods: readonly Pod[]): Promise<void> {
    // One that was removed meanwhile is not looked at any more.
    for (const pod of pods) if (this.registry.byId(pod.id) === pod) this.scraper.watch(pod)
    // A pod that is down is checked again and must not hold up the others.
    await Promise.all(pods.map(pod => this.health.watch(pod)))
  }
}
