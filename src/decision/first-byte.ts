/** How long a request would wait for its first byte on each pod: as learned, else by a prefill rate that is given. */
import { z } from 'zod'
import type { Pool } from '../data/pod-view.js'
import type { PluginEnv } from './plugin.js'
import { ownTokens } from './prefill.js'

export class FirstByteEstimate {
  readonly #env: Pick<PluginEnv, 'lane' | 'pods' | 'latency'>
  readonly #msPerToken: number

  /** `tokensPerSecond`: prefill rate of pods of which nothing has been learned yet. */
  constructor(env: Pick<PluginEnv, 'lane' | 'pods' | 'latency'>, tokensPerSecond: number) {
    this.#env = env
    this.#msPerToken = 1000 / tokensPerSecond
  }

  /** Writes milliseconds for each pod, at its place in the pool. */
  write(length: number, cached: Uint32Array, pods: Pool, out: Float64Array): void {
    const { lane, latency, pods: view } = this.#env
    const { pendingTokens, requests, kvUse } = lane
    for (let i = 0; i < pods.length; i++) {
      const slot = pods.slots[i] ?? 0
      const ahead = (pendingTokens[slot] ?? 0) + ownTokens(length, cached[slot] ?? 0)
      const pod = view.bySlot(slot)
      const ms =
        pod === undefined ? -1 : latency.predict(pod.ref, ahead, requests[slot] ?? 0, kvUse[slot] ?? 0)
      out[i] = ms >= 0 ? ms : ahead * this.#msPerToken
    }
  }
}

/** The peak rate of Qwen 32B on two H100 that llm-d's gate takes where it knows no better; an 8B model does twice that. */
export const PREFILL_TOKENS_PER_SECOND = 15_928

/** The option of plugins that estimate times, `tokensPerSecond`. */
export const unlearnedRate = z
  .number()
  .positive()
  .default(PREFILL_TOKENS_PER_SECOND)
  .describe('Prefill rate of pods whose latency has not been learned yet. In tokens per second.')
