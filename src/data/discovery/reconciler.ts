/**
 * Brings what the sources know into the registry. A source owns the pods that it was the first to know; a pod that
 * another one knows too passes to that one when its owner forgets it. What an operator did is left alone: a pod that is
 * configured or was added on the admin port belongs to no source, and a found pod that was deleted there stays away
 * until its source says something new of it (it goes and comes back, or its entry changes).
 */
import type { Entry, Pod, PodSpec } from '../pod-registry.js'
import { parsePodUrl, podIdOf } from '../pod-url.js'
import { differenceOf } from './difference.js'

/** What the reconciler does to the pods. */
export interface Fleet {
  readonly pods: readonly Pod[]
  /** Pods of a name: one, or all ranks of an engine. */
  named(name: string): readonly Pod[]
  /** Each for itself, in order; resolves when they can serve, as far as they can. */
  add(specs: readonly PodSpec[]): Promise<readonly Entry[]>
  remove(names: readonly string[]): Promise<unknown>
  /** Takes over what can be changed while a pod serves: labels, limits, models. */
  update(changes: ReadonlyMap<string, PodSpec>): Promise<unknown>
  cordon(name: string, cordoned: boolean): void
}

/** What is worth a line in the log. */
export interface ReconcilerEvents {
  added(source: string, name: string): void
  removed(source: string, name: string): void
  changed(source: string, name: string): void
  refused(source: string, name: string, why: string): void
}

interface Held {
  /** The source whose spec counts. */
  readonly owner: string
  readonly spec: PodSpec
  /**
   * `ours`: these pods are the ones we added. `foreign`: someone else's pod has the name. `dismissed`: an operator
   * deleted it. `refused`: the registry would not have it; tried again each time.
   */
  readonly state: 'ours' | 'foreign' | 'dismissed' | 'refused'
  readonly pods: readonly Pod[]
}

type Verdict = 'keep' | 'update' | 'add' | 'replace'
type Wanted = Pick<Held, 'owner' | 'spec'>

export class Reconciler {
  readonly #lists = new Map<string, ReadonlyMap<string, PodSpec>>()
  readonly #held = new Map<string, Held>()
  #running: Promise<void> | undefined
  #again = false

  constructor(
    private readonly fleet: Fleet,
    private readonly events: ReconcilerEvents,
  ) {}

  /** Takes over what a source knows now; resolves when the registry has followed. */
  async found(source: string, pods: readonly PodSpec[]): Promise<void> {
    this.#lists.set(source, new Map(pods.map(pod => [nameOf(pod), pod])))
    this.#again = true
    this.#running ??= this.#run()
    await this.#running
  }

  /** Pods that a source has in the registry. */
  owned(source: string): number {
    let count = 0
    for (const { owner, state, pods } of this.#held.values())
      if (owner === source && state === 'ours') count += pods.length
    return count
  }

  /** One run at a time: lists that come during one are worked off by the next. */
  async #run(): Promise<void> {
    try {
      while (this.#again) {
        this.#again = false
        await this.#reconcile()
      }
    } finally {
      this.#running = undefined
    }
  }

  async #reconcile(): Promise<void> {
    const wanted = this.#wanted()
    const gone = [...this.#held].filter(([name]) => !wanted.has(name))
    const replace: string[] = []
    const update = new Map<string, PodSpec>()
    const add = new Map<string, Wanted>()
    const known = this.#knownUrls(gone.flatMap(([name, held]) => this.#remaining(name, held)))
    for (const [name, want] of wanted) {
      const verdict = this.#settle(name, want)
      if (verdict === 'replace') replace.push(name)
      if (verdict === 'update') update.set(name, want.spec)
      if (verdict !== 'replace' && verdict !== 'add') continue
      const url = urlOf(want.spec)
      const twin = known.get(url) ?? name
      if (twin !== name) this.#refuse(name, want, `${url} is pod '${twin}' already`)
      else add.set(name, want)
      known.set(url, twin)
    }
    if (replace.length > 0) await this.fleet.remove(replace)
    if (update.size > 0) await this.fleet.update(update)
    // New ones first: of a fleet that is exchanged as a whole, somebody should always be there to serve.
    if (add.size > 0) await this.#add(add)
    await this.#remove(gone)
  }

  /**
   * Names by URL, but for those that are about to go: an engine that is entered under two names would have its load and
   * its cache counted twice.
   */
  #knownUrls(gone: readonly Pod[]): Map<string, string> {
    const staying = this.fleet.pods.filter(pod => !gone.includes(pod))
    return new Map(staying.map(({ name, origin, basePath }) => [`${origin}${basePath}`, name]))
  }

  async #remove(gone: readonly (readonly [string, Held])[]): Promise<void> {
    const ours: string[] = []
    for (const [name, held] of gone) {
      this.#held.delete(name)
      if (this.#remaining(name, held).length === 0) continue
      ours.push(name)
      this.events.removed(held.owner, name)
    }
    if (ours.length > 0) await this.fleet.remove(ours)
  }

  /** What each name should be: as its owner says while that one knows it, else as the first source does that does. */
  #wanted(): Map<string, Wanted> {
    const wanted = new Map<string, Wanted>()
    for (const [source, list] of this.#lists) {
      for (const [name, spec] of list) {
        const isOwner = this.#held.get(name)?.owner === source
        if (isOwner || !wanted.has(name)) wanted.set(name, { owner: source, spec })
      }
    }
    return wanted
  }

  /** The pods that we added under a name and that nobody has taken away. */
  #remaining(name: string, { state, pods }: Held): readonly Pod[] {
    if (state !== 'ours') return []
    const present = this.fleet.named(name)
    return pods.filter(pod => present.includes(pod))
  }

  /** Settles what needs no waiting, and says what is left to do. */
  #settle(name: string, want: Wanted): Verdict {
    const held = this.#held.get(name)
    const pods = held === undefined ? [] : this.#remaining(name, held)
    if (held !== undefined && pods.length > 0) return this.#follow(name, held, want, pods)
    const hold = (state: Held['state']): 'keep' => {
      this.#held.set(name, { ...want, state, pods: [] })
      return 'keep'
    }
    if (this.fleet.named(name).length > 0) return hold('foreign')
    if (held === undefined || held.state === 'refused') return 'add'
    // It was there and is not any more, by no doing of ours.
    return isSame(held.spec, want.spec) ? hold('dismissed') : 'add'
  }

  /** Our pod, and what its source says of it now. */
  #follow(name: string, held: Held, want: Wanted, pods: readonly Pod[]): Verdict {
    const { identity, traits, cordon } = differenceOf(held.spec, want.spec)
    if (identity || traits || cordon) this.events.changed(want.owner, name)
    if (identity) return 'replace'
    this.#held.set(name, { ...want, state: 'ours', pods })
    // Only then: an operator's own cordon holds until the list changes its mind.
    if (cordon) this.fleet.cordon(name, want.spec.cordoned ?? false)
    return traits ? 'update' : 'keep'
  }

  async #add(add: ReadonlyMap<string, Wanted>): Promise<void> {
    const entries = await this.fleet.add([...add.values()].map(({ spec }) => spec))
    let at = 0
    for (const [name, want] of add) {
      const entry = entries[at++]
      if (entry !== undefined && 'pods' in entry) this.#hold(name, want, entry.pods)
      else this.#refuse(name, want, entry?.fault ?? 'unknown')
    }
  }

  #hold(name: string, want: Wanted, pods: readonly Pod[]): void {
    this.#held.set(name, { ...want, state: 'ours', pods })
    this.events.added(want.owner, name)
  }

  #refuse(name: string, want: Wanted, why: string): void {
    this.#held.set(name, { ...want, state: 'refused', pods: [] })
    this.events.refused(want.owner, name, why)
  }
}

function isSame(a: PodSpec, b: PodSpec): boolean {
  const { identity, traits, cordon } = differenceOf(a, b)
  return !identity && !traits && !cordon
}

function urlOf({ url }: PodSpec): string {
  const parsed = parsePodUrl(url)
  return 'origin' in parsed ? `${parsed.origin}${parsed.basePath}` : url
}

/** The name that a pod has in the registry. */
function nameOf({ id, url }: PodSpec): string {
  if (id !== undefined) return id
  const parsed = parsePodUrl(url)
  return 'origin' in parsed ? podIdOf(parsed) : url
}
