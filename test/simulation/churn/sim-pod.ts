/** A pod of the churn test: the engine model and its publisher, without HTTP and in virtual time. */
import { blockKeys } from '#phyllo/simulation/engine/block-keys.js'
import { CacheEvents } from '#phyllo/simulation/engine/kv-events/cache-events.js'
import { KvPublisher } from '#phyllo/simulation/engine/kv-events/publisher.js'
import { a10gLlama8b } from '#phyllo/simulation/engine/parameters.js'
import { type Random, seededRandom } from '#phyllo/simulation/engine/random.js'
import { Engine } from '#phyllo/simulation/engine/scheduler.js'
import { BLOCK_SIZE, CONVERSATIONS, conversation, keysOf } from './prompts.js'
import type { Address, FleetFaults } from './protocol.js'

/** Four conversations and a bit: requests evict each other's blocks all the time. */
const parameters = { ...a10gLlama8b, blockSize: BLOCK_SIZE, blocks: 160, maxBatchedTokens: 512 }
/** Enough batches for any gap, few enough that the buffers of a fleet stay small. */
const BUFFER = 400

const contents = Array.from({ length: CONVERSATIONS }, (_, index) => ({
  tokens: conversation(index),
  keys: keysOf(index),
}))

export interface Counts {
  requests: number
  stored: number
  removed: number
  cleared: number
}

export class SimPod {
  readonly ever = new Set<number>()
  private readonly random: Random
  private now = 0
  private next = 0

  private constructor(
    readonly publisher: KvPublisher,
    private readonly engine: Engine,
    seed: number,
    private readonly counts: Counts,
  ) {
    this.random = seededRandom(seed)
  }

  static async start(
    seed: number,
    faults: FleetFaults,
    address: Partial<Address>,
    counts: Counts,
  ): Promise<SimPod> {
    const dialect = seed % 3 === 1 ? 'sglang' : 'vllm'
    const publisher = await onFreePorts(address.replay === undefined ? null : portOf(address.replay), port =>
      KvPublisher.open({
        endpoint: `tcp://*:${port + 1}`,
        replay: `tcp://127.0.0.1:${port}`,
        topic: '',
        rank: 0,
        format: { form: seed % 3 === 0 ? 'array' : 'map', dialect },
        replayForm: seed % 3 === 0 ? 'bare' : 'topic',
        buffer: BUFFER,
        faults: { ...faults, seed },
      }),
    )
    const hashes = seed % 5 === 0 ? 'bytes' : 'int'
    const events = new CacheEvents({ blockSize: BLOCK_SIZE, dialect, hashes, seed }, batch => {
      for (const event of batch) {
        if (event.type === 'BlockStored') counts.stored += event.blockHashes.length
        else if (event.type === 'BlockRemoved') counts.removed += event.blockHashes.length
        else counts.cleared++
      }
      publisher.publish(batch)
    })
    return new SimPod(publisher, new Engine(parameters, events), seed, counts)
  }

  get address(): Address {
    const { endpoint, replayEndpoint } = this.publisher
    const near = (text: string): string => text.replace('0.0.0.0', '127.0.0.1')
    return { endpoint: near(endpoint), replay: near(replayEndpoint ?? '') }
  }

  /** A request or three at a time, now and then one that is given up half-way, seldom a reset. */
  serve(): void {
    if (this.random() < 0.002) this.engine.resetCache()
    const ids: string[] = []
    for (let left = 1 + Math.floor(this.random() * 3); left > 0; left--) {
      // Two in three go to a tenth of the conversations: their requests meet, and find what others left.
      const range = this.random() < 0.67 ? CONVERSATIONS / 10 : CONVERSATIONS
      ids.push(this.submit(Math.floor(this.random() * range)))
    }
    if (this.random() < 0.05) {
      this.engine.advance(this.now)
      this.engine.abort(ids[0] ?? '', this.now)
    }
    this.finish()
  }

  /** Nothing is lost from here on, and an event follows whatever was lost before: the reader can know all. */
  settle(): void {
    this.publisher.mend()
    const own = Math.floor(this.random() * 0x1000_0000)
    const tokens = Uint32Array.from({ length: BLOCK_SIZE }, (_, at) => (at === 0 ? 0xe000_0000 + own : at))
    this.run(tokens, blockKeys(tokens, BLOCK_SIZE), BLOCK_SIZE, 0)
    this.finish()
  }

  cached(): number[] {
    return [...this.engine.cachedCopies().keys()]
  }

  private submit(index: number): string {
    const content = contents[index]
    if (content === undefined) throw new Error(`no conversation ${index}`)
    const length = 1 + Math.floor(this.random() * content.tokens.length)
    const output = Math.min(Math.floor(this.random() * 40), length - 1)
    return this.run(content.tokens.subarray(0, length), content.keys, length - output, output)
  }

  private run(tokens: Uint32Array, keys: Float64Array, promptTokens: number, outputTokens: number): string {
    const id = `r${this.next++}`
    const own = keys.subarray(0, Math.floor(tokens.length / BLOCK_SIZE))
    for (const key of own) this.ever.add(key)
    const content = { tokens, lora: null, cacheSalt: null }
    this.engine.submit({ id, promptTokens, outputTokens, keys: own, content }, this.now)
    this.counts.requests++
    return id
  }

  private finish(): void {
    for (let at = this.engine.nextEventAt(); at < Number.POSITIVE_INFINITY; at = this.engine.nextEventAt()) {
      this.now = at
      this.engine.advance(at)
    }
  }
}

/**
 * Below the ports that systems give to outgoing connections: a pod that comes back must find its own free, and among
 * those a reader that knocks on a closed port may even be given that very port, and be connected to itself.
 */
const FIRST_PORT = 10_000
const LAST_PORT = 30_000
const MOST_TRIES = 50
const PAUSE_MS = 20
let lastPort = FIRST_PORT + 2 * (process.pid % 9000)

const portOf = (endpoint: string): number => Number(endpoint.split(':').at(-1))

/** Two ports: those from `wanted` on, or the next that are free. */
async function onFreePorts<T>(wanted: number | null, open: (port: number) => Promise<T>): Promise<T> {
  for (let tries = MOST_TRIES; ; tries--) {
    lastPort = lastPort + 2 > LAST_PORT ? FIRST_PORT : lastPort + 2
    try {
      return await open(wanted ?? lastPort)
    } catch (error) {
      if (tries === 0) throw error
      await new Promise(resolve => setTimeout(resolve, PAUSE_MS))
    }
  }
}
