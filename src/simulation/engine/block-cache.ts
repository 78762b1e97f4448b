/**
 * The KV blocks of an engine and what of them can be reused: vLLM's block pool.
 *
 * A block is in use (counted), or free. Free blocks wait in one queue; those that hold a named prefix stay findable
 * until the queue's head reaches them. A request gives its blocks back tail first, and whoever uses a block uses all
 * before it, so a block never comes before its own successors in the queue: the least recently used *leaf* goes first.
 *
 * Requests that compute the same block at once, or compute one again, each keep their own copy of it: the first copy
 * is the one that others find, and the next takes its place when it goes.
 */
import type { EvictionListener } from './cache-listener.js'

const NONE = -1

export class BlockCache {
  /** Users of each block. */
  private readonly users: Int32Array
  /** Key of each named block; NaN for one without a name. */
  private readonly keys: Float64Array
  /** First copy of each named prefix. */
  private readonly byKey = new Map<number, number>()
  /** The next copy of the same prefix. */
  private readonly nextCopy: Int32Array
  private readonly before: Int32Array
  private readonly after: Int32Array
  private head = NONE
  private tail = NONE
  private freeCount = 0
  /** Copies of named blocks given up so far. */
  evicted = 0

  /** @param capacity blocks in all */
  constructor(
    readonly capacity: number,
    private readonly listener: EvictionListener | null = null,
  ) {
    if (!Number.isInteger(capacity) || capacity < 1) {
      throw new RangeError(`a block cache needs at least one block, not ${capacity}`)
    }
    this.users = new Int32Array(capacity)
    this.keys = new Float64Array(capacity).fill(Number.NaN)
    this.nextCopy = new Int32Array(capacity).fill(NONE)
    this.before = new Int32Array(capacity).fill(NONE)
    this.after = new Int32Array(capacity).fill(NONE)
    for (let block = 0; block < capacity; block++) this.enqueue(block)
  }

  /** Blocks that no request uses: free for the taking, cached or not. */
  get free(): number {
    return this.freeCount
  }

  /** Blocks used by requests. */
  get used(): number {
    return this.capacity - this.freeCount
  }

  /** Different named prefixes that blocks hold, used or free. */
  get cached(): number {
    return this.byKey.size
  }

  has(key: number): boolean {
    return this.byKey.has(key)
  }

  /** Takes the longest cached prefix of `keys`, at most `limit` blocks, for a request. */
  acquirePrefix(keys: Float64Array, limit: number): number[] {
    const blocks: number[] = []
    for (const key of keys.subarray(0, limit)) {
      const block = this.byKey.get(key)
      if (block === undefined) break
      this.use(block)
      blocks.push(block)
    }
    return blocks
  }

  /** Length in blocks of the longest cached prefix of `keys`, at most `limit`. */
  cachedPrefix(keys: Float64Array, limit: number): number {
    const most = Math.min(limit, keys.length)
    let found = 0
    while (found < most && this.byKey.has(keys[found] ?? Number.NaN)) found++
    return found
  }

  /** An unnamed block for new tokens, evicting the least recently used leaf if need be; -1 if all are in use. */
  allocate(): number {
    const block = this.head
    if (block === NONE) return NONE
    this.use(block)
    const key = this.keyOf(block)
    if (!Number.isNaN(key)) this.unname(block, key)
    return block
  }

  /** Names a block that a request has just filled; its predecessor must be named already. */
  name(block: number, key: number): void {
    if (!Number.isNaN(this.keyOf(block))) throw new Error(`block ${block} has a name already`)
    this.keys[block] = key
    const first = this.byKey.get(key)
    if (first === undefined) {
      this.byKey.set(key, block)
      return
    }
    let last = first
    for (let next = this.copyAfter(last); next !== NONE; next = this.copyAfter(last)) last = next
    this.nextCopy[last] = block
  }

  /** Copies of each named prefix: what a listener that counts must come to. */
  copies(): Map<number, number> {
    const counts = new Map<number, number>()
    for (const key of this.keys) if (!Number.isNaN(key)) counts.set(key, (counts.get(key) ?? 0) + 1)
    return counts
  }

  /** Gives a request's blocks back, in the order of its tokens. */
  releaseAll(blocks: readonly number[]): void {
    for (let i = blocks.length - 1; i >= 0; i--) this.release(blocks[i] ?? NONE)
  }

  /** Forgets all prefixes. False, and nothing done, while a request uses a block (as vLLM answers). */
  reset(): boolean {
    if (this.used > 0) return false
    this.byKey.clear()
    this.keys.fill(Number.NaN)
    this.nextCopy.fill(NONE)
    this.listener?.cleared()
    return true
  }

  private unname(block: number, key: number): void {
    const next = this.copyAfter(block)
    const first = this.byKey.get(key) ?? NONE
    if (first !== block) {
      let before = first
      while (before !== NONE && this.copyAfter(before) !== block) before = this.copyAfter(before)
      if (before === NONE) throw new Error('unreachable: a named block among no copies')
      this.nextCopy[before] = next
    } else if (next === NONE) this.byKey.delete(key)
    else this.byKey.set(key, next)
    this.nextCopy[block] = NONE
    this.keys[block] = Number.NaN
    this.evicted++
    this.listener?.removed(key)
  }

  private copyAfter(block: number): number {
    return this.nextCopy[block] ?? NONE
  }

  private keyOf(block: number): number {
    return this.keys[block] ?? Number.NaN
  }

  private use(block: number): void {
    const users = this.users[block] ?? 0
    if (users === 0) this.dequeue(block)
    this.users[block] = users + 1
  }

  private release(block: number): void {
    const users = this.users[block] ?? 0
    if (users < 1) throw new Error(`block ${block} was given back more often than it was taken`)
    this.users[block] = users - 1
    if (users === 1) this.enqueue(block)
  }

  /** Named blocks queue up; one without a name has nothing to lose and is taken first. */
  private enqueue(block: number): void {
    const isNamed = !Number.isNaN(this.keyOf(block))
    this.freeCount++
    if (isNamed) this.link(this.tail, block, NONE)
    else this.link(NONE, block, this.head)
  }

  private link(left: number, block: number, right: number): void {
    this.before[block] = left
    this.after[block] = right
    if (left === NONE) this.head = block
    else this.after[left] = block
    if (right === NONE) this.tail = block
    else this.before[right] = block
  }

  private dequeue(block: number): void {
    const left = this.before[block] ?? NONE
    const right = this.after[block] ?? NONE
    if (left === NONE) this.head = right
    else this.after[left] = right
    if (right === NONE) this.tail = left
    else this.before[right] = left
    this.freeCount--
  }
}
