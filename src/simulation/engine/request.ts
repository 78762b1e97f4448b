/** What the engine model is asked, and what it reports. Times are milliseconds of the model's clock. */

export interface EngineRequest {
  /** Unique among the requests that the engine has. */
  readonly id: string
  /** At least 1. */
  readonly promptTokens: number
  /** Tokens to generate; 0 for embeddings, which end with the prefill. */
  readonly outputTokens: number
  /**
   * Names of the leading full blocks of prompt and output together (`blockKeys`, or a trace's own ids). May stop
   * short: blocks without a name are counted but never shared.
   */
  readonly keys: Float64Array
  /** What the keys stand for; only a listener to the cache's events needs it. */
  readonly content?: RequestContent
  /**
   * Leading prompt tokens whose keys and values another engine has handed over: they take blocks, but no prefill. A
   * request that loses its blocks computes them itself.
   */
  readonly remoteTokens?: number
  /**
   * They are still to come: once there is room for them the engine reserves it, says so (`reserved`), and begins when
   * `Engine.received` tells that they are here.
   */
  readonly pulls?: boolean
  /** Its blocks stay in use after its end, until `Engine.release`: another engine is to read them. */
  readonly holdsBlocks?: boolean
}

export interface RequestContent {
  /** Prompt and output together. */
  readonly tokens: Uint32Array
  /** Name of the LoRA adapter; null for the base model. */
  readonly lora: string | null
  readonly cacheSalt: string | null
}

/** What happened, in the order of time. */
export type EngineEvent =
  /** There is room for what another engine hands over; `missing` of the prompt's tokens are not cached here. */
  | { readonly type: 'reserved'; readonly id: string; readonly at: number; readonly missing: number }
  | { readonly type: 'first-token'; readonly id: string; readonly at: number }
  | { readonly type: 'token'; readonly id: string; readonly at: number; readonly index: number }
  | {
      readonly type: 'finished'
      readonly id: string
      readonly at: number
      /** Prompt tokens found in the cache when the request was first scheduled. */
      readonly cachedTokens: number
      readonly preemptions: number
      /** The blocks it still holds (`holdsBlocks`); empty for any other. */
      readonly heldBlocks: readonly number[]
    }

/** Running totals and present state, in the units of vLLM's metrics. */
export interface EngineStats {
  readonly waiting: number
  readonly running: number
  readonly blocks: number
  /** Blocks in use by requests. */
  readonly usedBlocks: number
  /** Blocks that hold a reusable prefix. */
  readonly cachedBlocks: number
  /** Copies of named blocks that were given up for new tokens. */
  readonly evictedBlocks: number
  /** Prompt tokens looked up in the cache, and found. */
  readonly prefixQueries: number
  readonly prefixHits: number
  /** Prompt tokens whose keys and values came from another engine. */
  readonly remoteTokens: number
  /** Requests that have their blocks, and wait for what is to be in them. */
  readonly pulling: number
  /** Finished requests whose blocks wait to be read by another engine. */
  readonly holding: number
  /** Prompt tokens of requests whose prefill is complete. */
  readonly promptTokens: number
  readonly generationTokens: number
  readonly finished: number
  readonly aborted: number
  readonly preemptions: number
  readonly steps: number
  /** Milliseconds spent in steps. */
  readonly busyMs: number
}
