/** Runs the samples of one HTTP request through the engine, and stops them when the client goes away. */

import type { Answer } from './answer.js'
import { blockKeys } from './block-keys.js'
import type { Call } from './call.js'
import type { Rank } from './rank.js'
import type { EngineEvent, RequestContent } from './request.js'

/** One prompt and the answers that are asked for it. */
export interface Task {
  readonly prompt: Uint32Array
  readonly answers: readonly Answer[]
}

/** OpenAI's usage with vLLM's details (`--enable-prompt-tokens-details`). */
export interface Usage {
  readonly prompt_tokens: number
  readonly total_tokens: number
  readonly completion_tokens: number
  readonly prompt_tokens_details: { readonly cached_tokens: number; readonly created_cache_tokens: number }
}

/** Hears what happens; choices are numbered through all tasks. None is called after the client has gone. */
export interface GenerationSink {
  onToken?(choice: number, index: number): void
  onDone(usage: Usage): void
}

/** Root of the block keys: what makes equal tokens different caches. */
const cacheRoot = (model: string, salt: string | null | undefined): string => `${model}\n${salt ?? ''}`

/** Starts all samples. Throws, with nothing started, if one can never run. */
export function generate(
  call: Call,
  model: string,
  salt: string | null | undefined,
  tasks: readonly Task[],
  sink: GenerationSink,
): void {
  const { runtime } = call
  const rank = runtime.rankOf(call.exchange.header('x-data-parallel-rank'))
  const run = new Run(call, rank, tasks, sink)
  const root = cacheRoot(model, salt)
  const lora = model === runtime.options.model ? null : model
  tasks.forEach(({ prompt, answers }, task) => {
    for (const answer of answers) {
      const tokens = joined(prompt, answer.tokens)
      run.start(task, answer, root, { tokens, lora, cacheSalt: salt ?? null })
    }
  })
  call.exchange.onAborted(() => run.abort())
}

function joined(prompt: Uint32Array, answer: Uint32Array): Uint32Array {
  const all = new Uint32Array(prompt.length + answer.length)
  all.set(prompt)
  all.set(answer, prompt.length)
  return all
}

class Run {
  private readonly startedAt: number
  private readonly ids: string[] = []
  private left = 0
  private completionTokens = 0
  /** Cached prompt tokens of each task's first sample to finish. */
  private readonly cached: number[] = []
  private isOver = false

  constructor(
    private readonly call: Call,
    private readonly rank: Rank,
    private readonly tasks: readonly Task[],
    private readonly sink: GenerationSink,
  ) {
    this.startedAt = call.runtime.timing.now()
  }

  start(task: number, answer: Answer, root: string, content: RequestContent): void {
    const choice = this.ids.length
    // Clients may send the same request id twice at a time; the engine's own ids must differ.
    const id = `${this.call.id}-${choice}-${this.call.runtime.newId()}`
    const request = {
      id,
      promptTokens: this.tasks[task]?.prompt.length ?? 0,
      outputTokens: answer.tokens.length,
      keys: blockKeys(content.tokens, this.call.runtime.options.blockSize, root),
      ...(this.rank.events === null ? {} : { content }),
    }
    this.rank.driver.submit(request, event => this.hear(task, choice, answer, event))
    this.ids.push(id)
    if (content.lora !== null) this.call.runtime.adapters.waits(id, content.lora)
    this.left++
    this.completionTokens += answer.tokens.length
  }

  abort(): void {
    if (this.isOver) return
    this.isOver = true
    const { driver, metrics } = this.rank
    for (const id of this.ids) {
      driver.abort(id)
      this.call.runtime.adapters.leaves(id)
    }
    metrics.finish('abort', 0)
  }

  private hear(task: number, choice: number, answer: Answer, event: EngineEvent): void {
    if (this.isOver) return
    const { metrics } = this.rank
    const { timing, adapters } = this.call.runtime
    const seconds = (timing.now() - this.startedAt) / 1000
    if (event.type === 'first-token') {
      adapters.runs(event.id)
      metrics.firstTokenAfter(seconds)
      this.sink.onToken?.(choice, 0)
    } else if (event.type === 'token') {
      this.sink.onToken?.(choice, event.index)
    } else {
      adapters.leaves(event.id)
      metrics.finish(answer.finish, seconds)
      this.cached[task] ??= event.cachedTokens
      this.left--
      if (this.left === 0) this.finish()
    }
  }

  private finish(): void {
    this.isOver = true
    this.sink.onDone(this.usage())
  }

  private usage(): Usage {
    const { blockSize } = this.call.runtime.options
    let prompts = 0
    let cached = 0
    let created = 0
    this.tasks.forEach(({ prompt }, task) => {
      const hit = this.cached[task] ?? 0
      prompts += prompt.length
      cached += hit
      created += Math.max(0, Math.floor(prompt.length / blockSize) * blockSize - hit)
    })
    return {
      prompt_tokens: prompts,
      total_tokens: prompts + this.completionTokens,
      completion_tokens: this.completionTokens,
      prompt_tokens_details: { cached_tokens: cached, created_cache_tokens: created },
    }
  }
}

/** Usage in a body that is not streamed: vLLM fills in the fields it leaves out of a stream. */
export const fullUsage = (usage: Usage): object => ({
  ...usage,
  prompt_tokens_details: { ...usage.prompt_tokens_details, multimodal_tokens: null },
  completion_tokens_details: null,
})
