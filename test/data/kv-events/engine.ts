/** An engine's cache as plain as can be, that publishes what changes in it: the truth that the router should know. */
import type { KvEvent } from '#phyllo/simulation/engine/kv-events/encoder.js'
import type { LossyPublisher, Message } from './lossy-publisher.js'

export const BLOCK_SIZE = 16

/** Token ids of a conversation, the same on every engine; no two conversations share a block. */
export function conversation(index: number, blocks: number): Uint32Array {
  return Uint32Array.from(
    { length: blocks * BLOCK_SIZE },
    (_, i) => (index * 7919 + i * 31 + (i % 7)) % 150_000,
  )
}

/** The engine's own name of a block. */
const nameOf = (index: number, block: number): bigint => (BigInt(index + 1) << 32n) | BigInt(block)

export class Engine {
  readonly #cached = new Set<bigint>()

  constructor(public publisher: LossyPublisher) {}

  /** Number of blocks. */
  get size(): number {
    return this.#cached.size
  }

  /** Leading blocks of a conversation that are cached. */
  depth(index: number): number {
    let block = 0
    while (this.#cached.has(nameOf(index, block))) block += 1
    return block
  }

  stored(index: number, from: number, to: number): KvEvent {
    const blocks = Array.from({ length: to - from }, (_, i) => nameOf(index, from + i))
    for (const name of blocks) this.#cached.add(name)
    return {
      type: 'BlockStored',
      blockHashes: blocks,
      parentBlockHash: from === 0 ? null : nameOf(index, from - 1),
      tokenIds: conversation(index, to).subarray(from * BLOCK_SIZE),
      blockSize: BLOCK_SIZE,
      medium: 'GPU',
    }
  }

  removed(index: number, from: number, to: number): KvEvent {
    const blocks = Array.from({ length: to - from }, (_, i) => nameOf(index, from + i))
    for (const name of blocks) this.#cached.delete(name)
    return { type: 'BlockRemoved', blockHashes: blocks, medium: 'GPU' }
  }

  cleared(): KvEvent {
    this.#cached.clear()
    return { type: 'AllBlocksCleared' }
  }

  /** Caches blocks of a conversation and says so. */
  store(index: number, from: number, to: number): Message {
    return this.publisher.publish(this.stored(index, from, to))
  }
  /** The same, but the message is lost. */
  storeUnheard(index: number, from: number, to: number): Message {
    return this.publisher.lose(this.stored(index, from, to))
  }
  drop(index: number, from: number, to: number): Message {
    return this.publisher.publish(this.removed(index, from, to))
  }
  clear(): Message {
    return this.publisher.publish(this.cleared())
  }

  /** A new process in its place, with an empty cache. */
  async restart(): Promise<void> {
    this.publisher = await this.publisher.restarted()
    this.#cached.clear()
  }
}
