/** What a protocol of KV hand-offs is to an engine: it opens a leg for each request that takes part in one. */
import type { Call } from '../call.js'
import type { Rank } from '../rank.js'

/** One sequence of a request: a prompt and one answer to it. */
export interface Piece {
  readonly prompt: Uint32Array
  /** Names of the prompt's and the answer's full blocks. */
  readonly keys: Float64Array
}

export interface LegRequest {
  readonly call: Call
  readonly rank: Rank
  readonly pieces: readonly Piece[]
}

/** What has come from another engine for one sequence. */
export interface Arrival {
  /** Leading prompt tokens whose keys and values are here now; 0 if all must be computed. */
  readonly tokens: number
  /** What the usage shall say is cached, if the prefill engine said so. */
  readonly cachedTokens?: number | undefined
}

/** How a sequence of a prefill leg ended. */
export interface PieceEnd {
  /** Ids of the blocks that stay in use until `release`. */
  readonly blocks: readonly number[]
  /** Tokens in them. */
  readonly tokens: number
  readonly cachedTokens: number
  readonly finish: 'stop' | 'length'
  release(): void
}

/** One request's part in a hand-off. A leg that is refused throws an ApiError, or rejects with one. */
export interface Leg {
  /** Its blocks outlive it: `finished` gets them and must release them, in time. */
  readonly holds?: boolean
  /** Resolves, one entry for each sequence, when the request may run. Without it the request runs at once. */
  arrive?(): Promise<readonly Arrival[]>
  /** Hears how to end the request early, should its partner leave; called once, before `arrive`. */
  watch?(fail: (error: unknown) => void): void
  /** A sequence is done. */
  finished?(piece: number, end: PieceEnd): void
  /** Fields to add to the answer, asked for once all sequences are done. */
  answer?(): Record<string, unknown>
  /** The client went away, or the request failed: whatever is still under way is given up. */
  abort?(): void
}

/** `host:port` by which other engines reach a connector. */
export interface KvAddress {
  readonly host: string
  readonly port: number
}

export interface Connector {
  /** The leg that a request asks for; null if it is an ordinary request. Throws an ApiError. */
  open(request: LegRequest): Leg | null
  /** Null for a connector that nobody calls. */
  readonly address: KvAddress | null
  close(): Promise<void>
}
