/**
 * The pure-TypeScript index that stands beside the native one: the same inverted design (hash → bitmap of pods, grouped
 * binary search, alive mask), written as well as TypeScript allows. Hashes are two 32-bit words in typed arrays, since
 * a Map keyed by BigInt allocates and hashes a heap object per probe; `bigint-map` is that other variant.
 *
 * Both hold one bitmap of `words` 32-bit words an entry. Sizes are fixed: growing is not what is measured.
 */

export interface TsIndex {
  store(pod: number, hashes: BigUint64Array): void
  /** Writes `[pod, depth]` pairs, deepest first; answers their number. */
  query(hashes: BigUint64Array, out: Uint32Array): number
}

/** Where a hash's bitmap begins, or -1. The search is the same for all ways to store. */
interface Store {
  readonly words: number
  readonly bits: Uint32Array
  find(lo: number, hi: number): number
  place(lo: number, hi: number): number
}

class OpenAddressing implements Store {
  readonly bits: Uint32Array
  readonly #keys: Uint32Array
  readonly #mask: number

  /** `capacity`: a power of two, at least twice the entries. */
  constructor(
    capacity: number,
    readonly words: number,
  ) {
    this.#keys = new Uint32Array(capacity * 2)
    this.bits = new Uint32Array(capacity * words)
    this.#mask = capacity - 1
  }

  #slot(lo: number, hi: number): number {
    const keys = this.#keys
    // Fibonacci scrambling on 32 bits: cumulative hashes are well mixed, so one multiplication is enough.
    let at = (Math.imul(lo ^ hi, 0x9e3779b1) >>> 1) & this.#mask
    for (;;) {
      const keyLo = keys[at * 2]
      const keyHi = keys[at * 2 + 1]
      if (keyLo === lo && keyHi === hi) return at
      if (keyLo === 0 && keyHi === 0) return ~at
      at = (at + 1) & this.#mask
    }
  }

  find(lo: number, hi: number): number {
    const at = this.#slot(lo, hi)
    return at < 0 ? -1 : at * this.words
  }

  place(lo: number, hi: number): number {
    let at = this.#slot(lo, hi)
    if (at < 0) {
      at = ~at
      this.#keys[at * 2] = lo
      this.#keys[at * 2 + 1] = hi
    }
    return at * this.words
  }
}

class BigintMap implements Store {
  readonly bits: Uint32Array
  readonly #map = new Map<bigint, number>()

  constructor(
    capacity: number,
    readonly words: number,
  ) {
    this.bits = new Uint32Array((capacity / 2) * words)
  }

  #key(lo: number, hi: number): bigint {
    return (BigInt(hi) << 32n) | BigInt(lo)
  }

  find(lo: number, hi: number): number {
    const at = this.#map.get(this.#key(lo, hi))
    return at === undefined ? -1 : at * this.words
  }

  place(lo: number, hi: number): number {
    const key = this.#key(lo, hi)
    let at = this.#map.get(key)
    if (at === undefined) {
      at = this.#map.size
      this.#map.set(key, at)
    }
    return at * this.words
  }
}

class GroupedSearch implements TsIndex {
  readonly #store: Store
  readonly #alive: Uint32Array
  /** Stack of groups: least, most, and the bitmap of its pods; deeper halves are popped first. */
  readonly #least: Uint32Array
  readonly #most: Uint32Array
  readonly #pods: Uint32Array

  constructor(store: Store, pods: number) {
    this.#store = store
    const { words } = store
    this.#alive = new Uint32Array(words)
    for (let pod = 0; pod < pods; pod++)
      this.#alive[pod >>> 5] = (this.#alive[pod >>> 5] ?? 0) | (1 << (pod & 31))
    const depth = 64
    this.#least = new Uint32Array(depth)
    this.#most = new Uint32Array(depth)
    this.#pods = new Uint32Array(depth * words)
  }

  store(pod: number, hashes: BigUint64Array): void {
    const words32 = new Uint32Array(hashes.buffer, hashes.byteOffset, hashes.length * 2)
    const { bits } = this.#store
    for (let i = 0; i < hashes.length; i++) {
      const at = this.#store.place(words32[i * 2] ?? 0, words32[i * 2 + 1] ?? 0) + (pod >>> 5)
      bits[at] = (bits[at] ?? 0) | (1 << (pod & 31))
    }
  }

  query(hashes: BigUint64Array, out: Uint32Array): number {
    const words32 = new Uint32Array(hashes.buffer, hashes.byteOffset, hashes.length * 2)
    const { words } = this.#store
    const pods = this.#pods
    let count = 0
    let top = 0
    this.#least[0] = 0
    this.#most[0] = hashes.length
    pods.set(this.#alive, 0)
    while (top >= 0) {
      const least = this.#least[top] ?? 0
      const most = this.#most[top] ?? 0
      if (least === most) {
        if (least > 0) count = this.#emit(top, least, out, count)
        top--
        continue
      }
      // Block 0 first: a request that nobody knows must cost one probe.
      const middle = least === 0 ? 1 : least + ((most - least + 1) >>> 1)
      const found = this.#store.find(words32[middle * 2 - 2] ?? 0, words32[middle * 2 - 1] ?? 0)
      top = this.#split(top, middle, most, found, words)
    }
    return count
  }

  /** Splits the group on top: pods without the block stay below, pods with it go on top. Empty halves vanish. */
  #split(top: number, middle: number, most: number, found: number, words: number): number {
    const pods = this.#pods
    const { bits } = this.#store
    const from = top * words
    let hit = 0
    let miss = 0
    for (let w = 0; w < words; w++) {
      const group = pods[from + w] ?? 0
      const held = found < 0 ? 0 : group & (bits[found + w] ?? 0)
      pods[from + words + w] = held
      pods[from + w] = group & ~held
      hit |= held
      miss |= group & ~held
    }
    if (miss === 0) {
      for (let w = 0; w < words; w++) pods[from + w] = pods[from + words + w] ?? 0
      this.#least[top] = middle
      return top
    }
    this.#most[top] = middle - 1
    if (hit === 0) return top
    this.#least[top + 1] = middle
    this.#most[top + 1] = most
    return top + 1
  }

  #emit(top: number, depth: number, out: Uint32Array, start: number): number {
    let count = start
    const { words } = this.#store
    for (let w = 0; w < words; w++) {
      let rest = this.#pods[top * words + w] ?? 0
      while (rest !== 0) {
        const bit = 31 - Math.clz32(rest & -rest)
        out[count * 2] = w * 32 + bit
        out[count * 2 + 1] = depth
        count++
        rest &= rest - 1
      }
    }
    return count
  }
}

export const openAddressingIndex = (capacity: number, pods: number): TsIndex =>
  new GroupedSearch(new OpenAddressing(capacity, pods / 32), pods)
export const bigintMapIndex = (capacity: number, pods: number): TsIndex =>
  new GroupedSearch(new BigintMap(capacity, pods / 32), pods)
