/**
 * What it costs to compute a prompt on a pod, in milliseconds: the request's own time to its first token, behind what
 * waits there, and the time by which it holds up all that decode there, whose steps carry its chunks.
 *
 *     own    = (queued + own tokens) · ms per token
 *     others = decoding · own tokens · ms per token
 */

import { PREFILL_TOKENS_PER_SECOND } from './first-byte.js'
import type { PluginEnv } from './plugin.js'
import { PodSpeeds } from './pod-speeds.js'

/** Prompts over which the mean length is taken: it follows a change within a minute of any traffic that matters. */
const REMEMBERED = 64

export type DelayEnv = Pick<PluginEnv, 'pods' | 'latency' | 'now' | 'lane'>

export class PrefillDelay {
  /** Milliseconds, of the pod and the tokens looked at last. */
  own = 0
  others = 0
  /** Requests that decode there, as far as can be told. */
  decoding = 0
  readonly #env: DelayEnv
  readonly #speeds: PodSpeeds
  #meanTokens = 0

  constructor(env: DelayEnv, tokensPerSecond: number = PREFILL_TOKENS_PER_SECOND) {
    this.#env = env
    this.#speeds = new PodSpeeds(env, { tokensPerSecond, label: 'gpu', classes: {}, measured: true })
  }

  /** A request comes, for which a typical pod would compute so many tokens; before pods are looked at for it. */
  begin(tokens: number): void {
    this.#speeds.refresh()
    if (this.#meanTokens === 0) this.#meanTokens = tokens
    else this.#meanTokens += (tokens - this.#meanTokens) / REMEMBERED
  }

  /** Looks at a pod that would compute so many tokens. The loads are those of the present selection. */
  look(slot: number, tokens: number): void {
    const { pendingTokens, requests } = this.#env.lane
    const ms = this.#speeds.msPerToken[slot] ?? 0
    const pending = pendingTokens[slot] ?? 0
    // Who still waits for a first token does not decode. How many those are is not known, only how much they wait for.
    const waiting = pending > 0 ? Math.max(1, Math.round(pending / Math.max(1, this.#meanTokens))) : 0
    this.decoding = Math.max(0, (requests[slot] ?? 0) - waiting)
    this.own = (pending + tokens) * ms
    this.others = this.decoding * tokens * ms
  }
}
