/**
 * Index queries: N blocks over 256 pods, K of which hold prefixes that end at K different depths; the native index
 * through its Node binding beside the pure-TypeScript ones.
 *
 * Blocks are random 64-bit hashes, conversations are asked for in random order, and 1/8 of each query is unseen, as
 * the new turn of a conversation is.
 */
import { loadNative } from '#phyllo/data/native.js'
import { interleaved, type Subject } from '../lib/cpu-bench.js'
import { printTable, type Row, summarise, updateReadme, writeResults } from '../lib/results.js'
import { bigintMapIndex, openAddressingIndex } from './ts-index.js'

const PODS = 256
/** Distinct blocks: some 25 MB in the native index, over 40 MB in the others. */
const BLOCKS = 1 << 20
const ROUNDS = 5
const MS = 300
const BATCH = 256

interface Workload {
  readonly queries: BigUint64Array[]
  /** [pod, query, blocks held] */
  readonly held: [number, number, number][]
}

/** SplitMix64: deterministic, so that all subjects and runs see the same. */
function random(seed: bigint): () => bigint {
  let state = seed
  return () => {
    state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n)
    let z = state
    z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n)
    z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn)
    return z ^ (z >> 31n)
  }
}

function workload(n: number, k: number): Workload {
  const next = random(42n)
  const stored = n - n / 8
  const count = Math.max(16, Math.floor(BLOCKS / stored))
  const queries: BigUint64Array[] = []
  const held: [number, number, number][] = []
  for (let q = 0; q < count; q++) {
    queries.push(BigUint64Array.from({ length: n }, next))
    const first = Number(next() % BigInt(PODS))
    for (let j = 0; j < k; j++) held.push([(first + j * 13) % PODS, q, Math.floor((stored * (j + 1)) / k)])
  }
  return { queries, held }
}

type Query = (hashes: BigUint64Array, out: Uint32Array) => number

/** The `[pod, depth]` pairs of an answer, in an order of their own, to compare subjects by. */
function answer(query: Query, hashes: BigUint64Array): string {
  const out = new Uint32Array(PODS * 2)
  const count = query(hashes, out)
  const pairs = Array.from({ length: count }, (_, i) => `${out[i * 2]}:${out[i * 2 + 1]}`)
  return pairs.sort().join(' ')
}

function subjects({ queries, held }: Workload): Subject[] {
  const native = new (loadNative().PrefixIndex)(PODS)
  for (let pod = 0; pod < PODS; pod++) native.addPod()
  const open = openAddressingIndex(BLOCKS * 2, PODS)
  const map = bigintMapIndex(BLOCKS * 2, PODS)
  for (const [pod, q, depth] of held) {
    const hashes = queries[q]?.subarray(0, depth) ?? new BigUint64Array()
    for (const index of [native, open, map]) index.store(pod, hashes)
  }
  const all: [string, Query][] = [
    ['phyllo', (hashes, out) => native.query(hashes, out)],
    ['phyllo-ts', (hashes, out) => open.query(hashes, out)],
    ['phyllo-ts bigint map', (hashes, out) => map.query(hashes, out)],
  ]
  for (const hashes of queries.slice(0, 64)) {
    const expected = answer(all[0]?.[1] ?? (() => 0), hashes)
    for (const [name, query] of all) {
      if (answer(query, hashes) !== expected)
        throw new Error(`${name} gives other pods than the native index`)
    }
  }
  return all.map(([name, query]) => subject(name, query, queries))
}

function subject(name: string, query: Query, queries: readonly BigUint64Array[]): Subject {
  const out = new Uint32Array(PODS * 2)
  const next = random(7n)
  const order = Uint32Array.from({ length: 1 << 14 }, () => Number(next() % BigInt(queries.length)))
  let at = 0
  const run = () => {
    for (let i = 0; i < BATCH; i++) {
      const hashes = queries[order[at++ & (order.length - 1)] ?? 0]
      if (hashes !== undefined) query(hashes, out)
    }
  }
  return { name, run, batch: BATCH }
}

export async function benchQuery(): Promise<void> {
  const rows: Row[] = []
  for (const n of [64, 512, 2048]) {
    for (const k of [1, 4, 16]) {
      const samples = await interleaved(subjects(workload(n, k)), ROUNDS, MS)
      for (const [name, ns] of samples) {
        rows.push({
          case: `N=${n} K=${k} pods=${PODS}`,
          subject: name,
          metric: 'query CPU',
          unit: 'ns',
          ...summarise(ns),
        })
      }
    }
  }
  printTable(rows)
  updateReadme('query', writeResults('query', ['npm run bench -- query'], rows))
}
