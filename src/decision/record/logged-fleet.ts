/** The pods of a log: those of the line that is decided on are where they were, others where they were seen last. */
import { isPodRef, MAX_SLOTS, type PodRef } from '../../data/native.js'
import { type PodInfo, PodView, type Pool } from '../../data/pod-view.js'
import type { DecisionRecord } from './schema.js'

export class LoggedFleet {
  readonly view = new PodView()
  readonly #bySlot = new Map<number, PodInfo>()
  #generation = 0

  /** Makes the fleet that of the record; answers its pool. */
  show({ pods }: DecisionRecord): Pool {
    let isNew = false
    for (const [i, slot] of pods.slot.entries()) {
      const info = { labels: pods.labels?.[i] ?? {}, maxInflight: pods.maxInflight?.[i] ?? 0 }
      isNew = this.#enter(slot, pods.id[i] ?? '', info) || isNew
    }
    // Rings and pools are made anew with each version, so there is one only where something changed.
    if (isNew) this.view.update(this.view.version + 1, [...this.#bySlot.values()])
    return { slots: Uint16Array.from(pods.slot), length: pods.slot.length }
  }

  /** -1: no line so far had a pod of that id. */
  refOf(id: string): number {
    for (const { ref, id: known } of this.#bySlot.values()) if (known === id) return ref
    return -1
  }

  #enter(slot: number, id: string, info: Pick<PodInfo, 'labels' | 'maxInflight'>): boolean {
    const old = this.#bySlot.get(slot)
    const isSame = old !== undefined && old.id === id
    if (isSame && old.maxInflight === info.maxInflight && sameLabels(old.labels, info.labels)) return false
    // A pod that came back elsewhere is not in its old place any more.
    for (const [place, pod] of this.#bySlot) if (pod.id === id && place !== slot) this.#bySlot.delete(place)
    const ref = isSame ? old.ref : this.#ref(slot)
    this.#bySlot.set(slot, { ref, id, origin: '', basePath: '', models: [], rank: undefined, ...info })
    return true
  }

  #ref(slot: number): PodRef {
    const ref = ++this.#generation * MAX_SLOTS + slot
    if (!isPodRef(ref)) throw new Error('unreachable: a slot is not negative')
    return ref
  }
}

type Labels = Readonly<Record<string, string>>

function sameLabels(a: Labels, b: Labels): boolean {
  const names = Object.keys(a)
  return names.length === Object.keys(b).length && names.every(name => a[name] === b[name])
}
