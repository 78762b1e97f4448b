/**
 * A consistent-hashing ring. Virtual node i of a pod lies at `hashText('ID#i')`, a key at `hashText(key)` (hash.ts), and
 * a key belongs to the first node at or after it, around the circle. A pod's places depend on its id alone, so a pod
 * that leaves or joins moves only the keys before its own nodes: 1/n of them on average.
 */
import { MAX_SLOTS, slotOf } from '../data/native.js'
import type { PodInfo } from '../data/pod-view.js'
import { hashText } from './hash.js'

export class HashRing {
  readonly #places: Uint32Array
  readonly #slots: Uint16Array

  constructor(pods: readonly Pick<PodInfo, 'id' | 'ref'>[], virtualNodes: number) {
    const byId = [...pods].sort((a, b) => (a.id < b.id ? -1 : 1))
    const nodes = new Float64Array(byId.length * virtualNodes)
    // Place and rank in one number (32 + 10 bits), so that the sort compares numbers: 160,000 nodes for a full index.
    // Two nodes at one place: the lesser id is first on every router, whatever slots the pods have there.
    byId.forEach(({ id }, rank) => {
      for (let i = 0; i < virtualNodes; i++) {
        nodes[rank * virtualNodes + i] = hashText(`${id}#${i}`) * MAX_SLOTS + rank
      }
    })
    nodes.sort()
    const slots = byId.map(({ ref }) => slotOf(ref))
    this.#places = new Uint32Array(nodes.length)
    this.#slots = new Uint16Array(nodes.length)
    // A loop: `from` with a function goes through an iterator, which takes as long as all of the above.
    for (let i = 0; i < nodes.length; i++) {
      const node = nodes[i] ?? 0
      this.#places[i] = Math.floor(node / MAX_SLOTS)
      this.#slots[i] = slots[node % MAX_SLOTS] ?? 0
    }
  }

  /** Nodes on the ring. */
  get length(): number {
    return this.#places.length
  }

  /** The number of the first node at or after a place (32 bits, signed or not); 0 past the last one. */
  find(place: number): number {
    const wanted = place >>> 0
    let low = 0
    let high = this.#places.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#places[middle] ?? 0) < wanted) low = middle + 1
      else high = middle
    }
    return low === this.#places.length ? 0 : low
  }

  /** The pod of a node; numbers go around the circle, up to twice its length. */
  slotAt(node: number): number {
    return this.#slots[node < this.length ? node : node - this.length] ?? 0
  }
}
