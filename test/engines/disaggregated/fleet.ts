/** vLLMs that prefill and decode, and hand KV blocks over by NIXL; each can be killed and started again on its ports. */

import { freePorts } from '../../free-port.js'
import { type Engine, ready } from '../engine.js'
import { step } from '../harness.js'
import type { Installation } from '../install.js'
import type { EventOptions } from '../kv-events.js'
import type { KvTransferOptions } from '../kv-transfer.js'
import { startVllm } from '../vllm.js'

/** Tokens in a KV block: the CPU build of vLLM 0.32 takes no other. */
export const BLOCK_SIZE = 32
/** Tokens of prompt and answer together. */
export const CONTEXT_LENGTH = 2_048
/** Blocks of each cache, 4,096 tokens: enough for all that a case keeps, few enough to be overwritten within a second. */
export const BLOCKS = 128
/** Seconds that the prefill engine keeps blocks for a pull: short, so that a case can wait for the end of it. */
export const LEASE_SECONDS = 6

/** `spare` decodes too. */
export type Role = 'prefill' | 'decode' | 'spare'

type More = Pick<KvTransferOptions, 'engineId' | 'onLoadFailure'>

/** Ports stay over restarts: HTTP, side channel, KV events and their replay. */
export interface Place {
  readonly port: number
  readonly side: number
  readonly events: EventOptions
}

export class Pair {
  readonly #engines = new Map<Role, Engine>()
  #starts = 0

  /** `publish`: they publish their KV events. */
  constructor(
    readonly installation: Installation,
    readonly places: ReadonlyMap<Role, Place>,
    readonly publish: boolean,
  ) {}

  get prefill(): Engine {
    return this.#engine('prefill')
  }

  get decode(): Engine {
    return this.#engine('decode')
  }

  get spare(): Engine {
    return this.#engine('spare')
  }

  /** All, for evidence and for the end. */
  get engines(): readonly Engine[] {
    return [...this.#engines.values()]
  }

  /** Starts all at once; done when all have answered. */
  async start(): Promise<void> {
    const started = performance.now()
    for (const role of this.places.keys()) this.#launch(role)
    await ready(this.engines, started)
  }

  /** Starts one that was killed, on the ports it had; unless told otherwise under a new engine id, as vLLM does by itself. */
  async restart(role: Role, more: Partial<More> = {}): Promise<void> {
    const started = performance.now()
    await ready([this.#launch(role, more)], started)
  }

  async stop(): Promise<void> {
    await Promise.all(this.engines.map(({ process }) => process.stop()))
  }

  #engine(role: Role): Engine {
    const engine = this.#engines.get(role)
    if (engine === undefined) throw new Error(`the ${role} engine was never started`)
    return engine
  }

  #launch(role: Role, more: Partial<More> = {}): Engine {
    const place = this.places.get(role)
    if (place === undefined) throw new Error(`there is no ${role} engine here`)
    const { port, side, events } = place
    const { vllmPython: python, modelDir } = this.installation
    const kvTransfer: KvTransferOptions = {
      role: role === 'prefill' ? 'kv_producer' : 'kv_consumer',
      engineId: `${role}-${++this.#starts}`,
      sideChannel: { host: '127.0.0.1', port: side },
      leaseSeconds: LEASE_SECONDS,
      ...more,
    }
    const cache = { blockSize: BLOCK_SIZE, blocks: BLOCKS, contextLength: CONTEXT_LENGTH }
    const published = this.publish ? { events } : {}
    const engine = startVllm({ name: role, port, python, modelDir, ...cache, kvTransfer, ...published })
    this.#engines.set(role, engine)
    return engine
  }
}

export function startPair(
  installation: Installation,
  roles: readonly Role[] = ['prefill', 'decode'],
  publish = false,
): Promise<Pair> {
  return step(`starting vLLMs: ${roles.join(', ')}`, async () => {
    const first = await freePorts(roles.length * 4)
    const places = new Map(roles.map((role, i) => [role, placeAt(first + i * 4)]))
    const pair = new Pair(installation, places, publish)
    await pair.start()
    return pair
  })
}

const placeAt = (port: number): Place => ({
  port,
  side: port + 1,
  events: { port: port + 2, replayPort: port + 3, topic: '' },
})
