/** The engines whose caches the exact phases follow, and what differs between them. */
import { type Engine, VLLM_MODEL } from '../engine.js'
import type { EventOptions } from '../kv-events.js'
import { startSglang } from '../sglang.js'
import { startVllm } from '../vllm.js'

export interface EngineKind {
  readonly label: string
  /** Tokens in a KV block. */
  readonly blockSize: number
  /** Blocks of the cache: a tenth of what the conversations need. */
  readonly blocks: number
  /** Longest prompt that is sent, in tokens; more would not fit into the context with its answer. */
  readonly maxPrompt: number
  /** Path that empties the prefix cache. */
  readonly resetPath: string
  /** Its metric that counts prompt tokens found in the cache. */
  readonly cachedTokensMetric: string
  /** Between an answer's end and the moment when the events of what it left are out, ms at most. */
  readonly eventDelayMs: number
  /** Its answers say so when nothing was cached; else they then leave it out. */
  readonly tellsZero: boolean
  /** Its template sees tools as they were sent. */
  readonly keepsTools: boolean
  start(name: string, ports: EnginePorts, more?: StartOptions): Engine
}

/** Kept over restarts. */
export interface EnginePorts {
  readonly port: number
  readonly events: number
  readonly replay: number
}

export interface StartOptions {
  readonly bufferSteps?: number
  readonly dataParallel?: number
}

/** Prompt and answer of the longest request. */
const CONTEXT_LENGTH = 2_048
const LONGEST_ANSWER = 16

export type CacheSize = Pick<EngineKind, 'blockSize' | 'blocks'>

/** `blocks` × `blockSize` must hold at least one context, or vLLM does not start. */
export const vllmKind = (label: string, python: string, modelDir: string, size: CacheSize): EngineKind => ({
  label,
  tellsZero: true,
  ...size,
  maxPrompt: CONTEXT_LENGTH - LONGEST_ANSWER,
  resetPath: '/reset_prefix_cache',
  cachedTokensMetric: 'vllm:prefix_cache_hits_total',
  // Published before the answer's last piece.
  eventDelayMs: 0,
  keepsTools: true,
  start(name, ports, { bufferSteps, dataParallel } = {}) {
    const { port } = ports
    const events = { ...eventsOf(ports), bufferSteps }
    return startVllm({
      ...{ name, port, python, modelDir, ...size },
      ...{ contextLength: CONTEXT_LENGTH, events, dataParallel },
    })
  },
})

export const sglangKind = (label: string, python: string, modelDir: string, size: CacheSize): EngineKind => ({
  label,
  ...size,
  maxPrompt: CONTEXT_LENGTH - LONGEST_ANSWER,
  resetPath: '/flush_cache',
  cachedTokensMetric: 'sglang:cached_tokens_total',
  // What a finished request leaves goes into its tree before the answer's end, but is published when its scheduler next
  // idles or computes. Clients take longer for their next turn, as a rule; these here don't.
  eventDelayMs: 30,
  tellsZero: true,
  keepsTools: false,
  start(name, ports, { bufferSteps } = {}) {
    const { port } = ports
    return startSglang({
      ...{ name, port, python, modelDir, pageSize: size.blockSize, tokens: size.blocks * size.blockSize },
      ...{ contextLength: CONTEXT_LENGTH, events: { ...eventsOf(ports), bufferSteps } },
    })
  },
})

const eventsOf = ({ port, events, replay }: EnginePorts): EventOptions => ({
  port: events,
  replayPort: replay,
  // As llm-d's fleets name their topics.
  topic: `kv@127.0.0.1:${port}@${VLLM_MODEL}`,
})
