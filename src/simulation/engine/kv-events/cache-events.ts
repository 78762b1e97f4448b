/**
 * What an engine's cache gains and loses, as the events that it would publish: one batch per step, as vLLM does it. A
 * reset of an idle engine is told with the next step, too.
 */
import type { CacheListener } from '../cache-listener.js'
import type { EngineRequest, RequestContent } from '../request.js'
import type { BlockStored, EngineHash, EventFormat, ExtraKey, KvEvent } from './encoder.js'
import { engineHash, type HashForm } from './engine-hash.js'

export interface CacheEventsOptions {
  /** Tokens in a block. */
  readonly blockSize: number
  readonly dialect: EventFormat['dialect']
  readonly hashes: HashForm
  /** Engines with another seed call the same blocks by other names. */
  readonly seed: number
}

export class CacheEvents implements CacheListener {
  private pending: KvEvent[] = []
  /** The hashes of the last event, if blocks that go next belong to it: SGLang tells what goes at once in one event. */
  private evicted: EngineHash[] | null = null
  /** Ids of adapters, in the order in which they were first heard of, from 1 as in vLLM. */
  private readonly loraIds = new Map<string, number>()
  /** Names of the blocks that are cached: each is told when it comes, as a parent, and when it goes. */
  private readonly names = new Map<number, EngineHash>()

  /** @param publish takes the events of a step, at least one */
  constructor(
    private readonly options: CacheEventsOptions,
    private readonly publish: (events: readonly KvEvent[]) => void,
  ) {}

  stored(request: EngineRequest, from: number, to: number): void {
    const { content, keys } = request
    if (content === undefined) throw new Error(`request ${request.id} came without its content`)
    const { blockSize } = this.options
    this.push({
      type: 'BlockStored',
      blockHashes: Array.from(keys.subarray(from, to), key => this.hashOf(key)),
      parentBlockHash: from === 0 ? null : this.hashOf(keys[from - 1] ?? Number.NaN),
      tokenIds: content.tokens.subarray(from * blockSize, to * blockSize),
      blockSize,
      medium: 'GPU',
      ...(this.options.dialect === 'vllm' ? this.vllmFields(content, from, to) : sglangFields(content)),
    })
  }

  removed(key: number): void {
    const hash = this.hashOf(key)
    this.names.delete(key)
    const blockHashes = [hash]
    if (this.options.dialect === 'vllm') {
      this.push({ type: 'BlockRemoved', blockHashes, medium: 'GPU', groupIndex: 0 })
    } else if (this.evicted !== null) {
      this.evicted.push(hash)
    } else {
      this.push({ type: 'BlockRemoved', blockHashes, medium: 'GPU' })
      this.evicted = blockHashes
    }
  }

  cleared(): void {
    this.names.clear()
    this.push({ type: 'AllBlocksCleared' })
  }

  stepDone(): void {
    if (this.pending.length === 0) return
    const events = this.pending
    this.pending = []
    this.evicted = null
    this.publish(events)
  }

  /** The name under which the engine publishes a block. */
  hashOf(key: number): EngineHash {
    const known = this.names.get(key)
    if (known !== undefined) return known
    const name = engineHash(key, this.options.seed, this.options.hashes)
    this.names.set(key, name)
    return name
  }

  private push(event: KvEvent): void {
    this.pending.push(event)
    this.evicted = null
  }

  private vllmFields({ lora, cacheSalt }: RequestContent, from: number, to: number): Partial<BlockStored> {
    return {
      loraId: lora === null ? null : this.loraId(lora),
      loraName: lora,
      extraKeys: Array.from({ length: to - from }, (_, at) =>
        extraKeys(lora, at + from === 0 ? cacheSalt : null),
      ),
      groupIndex: 0,
      specKind: 'full_attention',
    }
  }

  private loraId(name: string): number {
    const id = this.loraIds.get(name) ?? this.loraIds.size + 1
    this.loraIds.set(name, id)
    return id
  }
}

/** The adapter tells all blocks apart, the salt the first one, and through it all that follow. */
function extraKeys(lora: string | null, salt: string | null): ExtraKey[] | null {
  const keys = [lora, salt].filter(key => key !== null)
  return keys.length === 0 ? null : keys
}

const sglangFields = ({ lora, cacheSalt }: RequestContent): Partial<BlockStored> => ({
  ...(lora === null ? {} : { loraName: lora }),
  ...(cacheSalt === null ? {} : { cacheSalt }),
})
