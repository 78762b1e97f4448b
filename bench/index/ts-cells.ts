/**
 * The pure-TypeScript index in the cells of the Rust program. The shapes are those of `cells/src/shape.rs`; the hashes
 * are random numbers, since an index sees no difference, and 64-bit arithmetic would take longer than all the rest.
 */
import { interleaved } from '../lib/cpu-bench.js'
import type { Cell } from './cells.js'
import type { Sample } from './program.js'
import { openAddressingIndex, type TsIndex } from './ts-index.js'

const SUBJECT = 'phyllo-ts'
/** As in the Rust program. */
const BLOCKS = 131_072
const HOLDERS = 8
const BATCH = 256

/** sfc32 (Chris Doty-Humphrey): 32 random bits a call. */
function random(seed: number): () => number {
  let [a, b, c, counter] = [0x9e3779b9, 0x243f6a88, seed, 1]
  return () => {
    const sum = (a + b + counter++) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + sum) | 0
    return sum >>> 0
  }
}

/** What one pod holds of one conversation: so many leading blocks, and blocks of its own behind them. */
interface Holding {
  readonly pod: number
  readonly group: number
  readonly depth: number
  readonly tail: BigUint64Array
}

class Workload {
  readonly queries: BigUint64Array[] = []
  readonly holdings: Holding[] = []
  readonly #next = random(42)
  readonly #shared: number
  readonly #stored: number

  constructor(readonly cell: Cell) {
    const { scenario, depth } = cell
    this.#stored = scenario === 'best8' ? depth : depth - Math.floor(depth / 8)
    this.#shared = scenario === 'sys8' ? Math.floor(depth / 8) : 0
    const groups = Math.max(16, Math.floor(BLOCKS / depth))
    const prompt = this.#hashes(this.#shared)
    for (let group = 0; group < groups; group++) {
      const query = this.#hashes(depth)
      query.set(prompt)
      this.queries.push(query)
      this.#hold(group)
    }
  }

  #hashes(count: number): BigUint64Array {
    const hashes = new BigUint64Array(count)
    const words = new Uint32Array(hashes.buffer)
    for (let i = 0; i < words.length; i++) words[i] = this.#next()
    return hashes
  }

  #hold(group: number): void {
    const { scenario, pods } = this.cell
    const holders = new Set<number>()
    while (holders.size < Math.min(HOLDERS, pods)) holders.add(this.#next() % pods)
    let j = 0
    for (const pod of holders) {
      j++
      const share = scenario === 'best8' ? 1 : j / holders.size
      const depth = this.#shared + Math.floor((this.#stored - this.#shared) * share)
      const tail = this.#hashes(scenario === 'tree8' ? this.#stored - depth : 0)
      this.holdings.push({ pod, group, depth, tail })
    }
  }

  /** Distinct blocks that pods hold. */
  get blocks(): number {
    const tails = this.holdings.reduce((sum, { tail }) => sum + tail.length, 0)
    return this.queries.length * this.#stored + tails
  }

  fill(index: TsIndex): void {
    const prompt = this.queries[0]?.subarray(0, this.#shared)
    for (let pod = 0; pod < this.cell.pods; pod++) if (prompt !== undefined) index.store(pod, prompt)
    for (const { pod, group, depth, tail } of this.holdings) {
      index.store(pod, this.queries[group]?.subarray(this.#shared, depth) ?? tail)
      index.store(pod, tail)
    }
  }

  /** The pods of each query with their depths, as `pod:depth`. */
  expected(): Set<string>[] {
    const shared = this.#shared
    const depths = this.queries.map(
      () => new Map(Array.from({ length: shared > 0 ? this.cell.pods : 0 }, (_, pod) => [pod, shared])),
    )
    for (const { pod, group, depth } of this.holdings) depths[group]?.set(pod, depth)
    return depths.map(pods => new Set(Array.from(pods, ([pod, depth]) => `${pod}:${depth}`)))
  }
}

/** An index filled and checked, that gives one sample a call. */
export class TsSubject {
  readonly #index: TsIndex
  readonly #queries: readonly BigUint64Array[]
  readonly #out: Uint32Array
  readonly #order: Uint32Array
  #at = 0

  constructor(
    cell: Cell,
    readonly ms: number,
  ) {
    const workload = new Workload(cell)
    // Its bitmaps are whole words of 32 pods, and its table needs twice the room, a power of two.
    const pods = Math.max(32, cell.pods)
    this.#index = openAddressingIndex(2 ** Math.ceil(Math.log2(workload.blocks * 2)), pods)
    workload.fill(this.#index)
    this.#queries = workload.queries
    this.#out = new Uint32Array(pods * 2)
    this.#check(workload)
    const next = random(7)
    this.#order = Uint32Array.from({ length: 1 << 14 }, () => next() % this.#queries.length)
  }

  #check(workload: Workload): void {
    for (const [i, expected] of workload.expected().entries()) {
      const count = this.#index.query(this.#queries[i] ?? new BigUint64Array(), this.#out)
      const pairs = Array.from({ length: count }, (_, n) => `${this.#out[n * 2]}:${this.#out[n * 2 + 1]}`)
      if (count !== expected.size || !pairs.every(pair => expected.has(pair)))
        throw new Error(`a wrong answer of ${SUBJECT}: ${pairs.join(' ')}`)
    }
  }

  #run(): void {
    const order = this.#order
    for (let i = 0; i < BATCH; i++) {
      const query = this.#queries[order[this.#at++ & (order.length - 1)] ?? 0]
      if (query !== undefined) this.#index.query(query, this.#out)
    }
  }

  async round(): Promise<Sample[]> {
    const subject = { name: SUBJECT, run: () => this.#run(), batch: BATCH }
    const samples = await interleaved([subject], 1, this.ms)
    return (samples.get(SUBJECT) ?? []).map(value => ({
      subject: SUBJECT,
      metric: 'query CPU',
      unit: 'ns',
      value,
    }))
  }
}
