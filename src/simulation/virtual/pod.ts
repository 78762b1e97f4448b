/** One pod in virtual time: the engine model, its KV events on their way to the router, and its next step scheduled. */
import { blockKeys } from '../engine/block-keys.js'
import { CacheEvents } from '../engine/kv-events/cache-events.js'
import { EventEncoder, sequenceFrame } from '../engine/kv-events/encoder.js'
import type { EngineParameters } from '../engine/parameters.js'
import type { EngineEvent, EngineRequest, EngineStats, RequestContent } from '../engine/request.js'
import { Engine } from '../engine/scheduler.js'
import type { EventQueue } from './event-queue.js'
import type { Prompt, VirtualRequest } from './workload.js'

/** Takes a message of the pod's event stream. */
export type DeliverEvents = (sequence: Buffer, payload: Buffer) => void

/** How the pod's KV events come to the router. */
export interface EventWire {
  /** Between the engine's step and the router's hearing of it. */
  readonly lagMs: number
  readonly deliver: DeliverEvents
}

const FORMAT = { form: 'map', dialect: 'vllm' } as const

export class VirtualPod {
  readonly #engine: Engine
  readonly #wakes: () => void
  readonly #needsContent: boolean
  #armedFor = Number.POSITIVE_INFINITY

  /**
   * @param seed engines of another seed call the same blocks by other names in their events
   * @param hear is told what becomes of requests, in the order of time
   * @param wire null: the pod publishes no events
   */
  constructor(
    readonly id: string,
    readonly parameters: EngineParameters,
    private readonly queue: EventQueue,
    hear: (event: EngineEvent) => void,
    wire: EventWire | null,
    seed: number,
  ) {
    this.#needsContent = wire !== null
    this.#engine = new Engine(parameters, wire === null ? null : this.#events(wire, seed))
    this.#wakes = () => {
      this.#armedFor = Number.POSITIVE_INFINITY
      for (const event of this.#engine.advance(queue.now)) hear(event)
      this.#arm()
    }
  }

  /** Whether its cache could ever hold the request, or its prompt alone; an engine refuses it otherwise. */
  fits({ prompt, outputTokens }: VirtualRequest, isPrefill: boolean): boolean {
    return prompt.length + (isPrefill ? 1 : outputTokens) <= this.#engine.capacityTokens
  }

  /** The request begins to wait for its turn now. */
  submit(id: string, { prompt, outputTokens }: VirtualRequest): void {
    this.#submit({ id, outputTokens }, prompt)
  }

  /** Only the prompt, and the one token that an engine makes in any case; its blocks are kept until `release`. */
  submitPrefill(id: string, { prompt }: VirtualRequest): void {
    this.#submit({ id, outputTokens: 1, holdsBlocks: true }, prompt)
  }

  /** The answer, once there was room for the prompt (`reserved`) and its blocks have been `received`. */
  submitDecode(id: string, { prompt, outputTokens }: VirtualRequest): void {
    this.#submit({ id, outputTokens, remoteTokens: prompt.length, pulls: true }, prompt)
  }

  /** The blocks that a decode was waiting for are here. */
  received(id: string): void {
    this.#engine.received(id, this.queue.now)
    this.#arm()
  }

  /** They will never be: the prompt is computed here. */
  loseRemote(id: string): void {
    this.#engine.loseRemote(id, this.queue.now)
    this.#arm()
  }

  /** Nobody needs the blocks of a prefill any longer. */
  release(id: string): void {
    this.#engine.release(id, this.queue.now)
    this.#arm()
  }

  stats(): EngineStats {
    return this.#engine.stats()
  }

  #submit(request: Omit<EngineRequest, 'promptTokens' | 'keys' | 'content'>, prompt: Prompt): void {
    const keys = blockKeys(prompt.tokens(), this.parameters.blockSize)
    const content = this.#needsContent ? { content: new PromptContent(prompt) } : {}
    this.#engine.submit({ ...request, promptTokens: prompt.length, keys, ...content }, this.queue.now)
    this.#arm()
  }

  #events(wire: EventWire, seed: number): CacheEvents {
    const encoder = new EventEncoder(FORMAT)
    let next = 0
    const { blockSize } = this.parameters
    return new CacheEvents({ blockSize, dialect: FORMAT.dialect, hashes: 'int', seed }, events => {
      const { now } = this.queue
      const payload = encoder.encode({ time: now / 1000, events, rank: null })
      const sequence = sequenceFrame(next++)
      this.queue.at(now + wire.lagMs, () => wire.deliver(sequence, payload))
    })
  }

  #arm(): void {
    const at = this.#engine.nextEventAt()
    if (at >= this.#armedFor) return
    this.#armedFor = at
    this.queue.at(at, this.#wakes)
  }
}

/** The tokens behind a request's keys, made when its first blocks are computed: those of a long queue would fill the memory. */
class PromptContent implements RequestContent {
  readonly lora = null
  readonly cacheSalt = null
  #tokens: Uint32Array | null = null

  constructor(private readonly prompt: Prompt) {}

  get tokens(): Uint32Array {
    this.#tokens ??= this.prompt.tokens()
    return this.#tokens
  }
}
