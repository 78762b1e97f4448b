/** What all connectors of an engine share. */
import type { Call } from '../call.js'
import type { Timing } from '../driver.js'
import { wantedLogprobs } from '../logprobs.js'
import type { EngineOptions } from '../options.js'
import { seedOf } from '../random.js'
import type { Rank } from '../rank.js'
import { ApiError } from '../respond.js'
import type { HandOffCounts } from './counters.js'

export interface HandOffContext {
  readonly options: EngineOptions
  readonly counts: HandOffCounts
  readonly timing: Timing
  /** Of the engine; its ranks have names of their own, see `engineIdOf`. */
  readonly engineId: string
}

/** vLLM's names of engines with several data-parallel ranks. */
export const engineIdOf = ({ engineId, options }: HandOffContext, rank: Rank): string =>
  options.dataParallel === 1 ? engineId : `${engineId}_dp${rank.index}`

/** Tells prompts apart, so that a hand-off made for one is not taken for another: 32 bits, by tokens and length. */
export const digestOf = (prompt: Uint32Array): number => seedOf(prompt, prompt.length)

/** The client's (that is, the router's) fault: a field that is missing or makes no sense. */
export function malformed({ counts }: HandOffContext, message: string, param: string): ApiError {
  counts.rejected++
  return ApiError.badRequest(message, param)
}

/**
 * A decode leg computes the prompt's last token alone, and knows no log probabilities of the others. vLLM 0.22 answers what
 * was in the memory for them, 0.32 fetches nothing and computes the prompt again, SGLang leaves them out: each a router's
 * mistake.
 */
export function requireNoPromptLogprobs(context: HandOffContext, call: Call): void {
  if (wantedLogprobs(call.fields()).prompt === null) return
  throw malformed(context, 'log probabilities of a prompt that was computed elsewhere', 'prompt_logprobs')
}

/** The hand-off can't be had. vLLM and SGLang both answer 500, as the fault may be the other engine's. */
export function failed({ counts }: HandOffContext, message: string): ApiError {
  counts.rejected++
  return new ApiError(500, 'InternalServerError', message)
}

/** Rejects with an AbortError, at once, if the signal fires. */
export function pause(timing: Timing, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      cancel()
      reject(signal.reason)
    }
    const cancel = timing.after(ms, () => {
      signal.removeEventListener('abort', stop)
      resolve()
    })
    if (signal.aborted) stop()
    else signal.addEventListener('abort', stop, { once: true })
  })
}
