/** Runs the samples of one HTTP request through the engine, and stops them when the client goes away. */

import type { Answer } from './answer.js'
import { blockKeys } from './block-keys.js'
import type { Call } from './call.js'
import type { Arrival, Leg } from './hand-off/connector.js'
import type { Rank } from './rank.js'
import type { EngineEvent, RequestContent } from './request.js'
import { ApiError } from './respond.js'

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

/** Fields of the answer that are the hand-off's. */
export type HandOffFields = Readonly<Record<string, unknown>>

/** Hears what happens; choices are numbered through all tasks. None is called after the client has gone. */
export interface GenerationSink {
  onToken?(choice: number, index: number): void
  onDone(usage: Usage, handOff: HandOffFields): void
}

/** Root of the block keys: what makes equal tokens different caches. */
const cacheRoot = (model: string, salt: string | null | undefined): string => `${model}\n${salt ?? ''}`

/** A choice: one answer to one prompt. */
interface Sample {
  readonly task: number
  readonly prompt: Uint32Array
  readonly answer: Answer
  readonly keys: Float64Array
  readonly content: RequestContent
}

/** Starts all samples. Throws, with nothing started, if one can never run or its hand-off is refused. */
export function generate(
  call: Call,
  model: string,
  salt: string | null | undefined,
  tasks: readonly Task[],
  sink: GenerationSink,
): void {
  const { runtime } = call
  const rank = runtime.rankOf(call.exchange.header('x-data-parallel-rank'))
  const root = cacheRoot(model, salt)
  const lora = model === runtime.options.model ? null : model
  const { blockSize } = runtime.options
  const samples = tasks.flatMap(({ prompt, answers }, task) =>
    answers.map((answer): Sample => {
      const tokens = joined(prompt, answer.tokens)
      const content = { tokens, lora, cacheSalt: salt ?? null }
      return { task, prompt, answer, keys: blockKeys(tokens, blockSize, root), content }
    }),
  )
  const leg = runtime.handOff.join({ call, rank, pieces: samples })
  const run = new Run(call, rank, tasks, samples, sink, leg)
  run.begin()
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
  private left: number
  /** Cached prompt tokens of each task, by its first sample: the others may find what that one has computed. */
  private readonly cached: number[] = []
  private arrivals: readonly Arrival[] = []
  private isOver = false

  constructor(
    private readonly call: Call,
    private readonly rank: Rank,
    private readonly tasks: readonly Task[],
    private readonly samples: readonly Sample[],
    private readonly sink: GenerationSink,
    private readonly leg: Leg | null,
  ) {
    this.startedAt = call.runtime.timing.now()
    this.left = samples.length
  }

  /** Starts at once, or once the other engine's blocks have come. */
  begin(): void {
    this.leg?.watch?.(error => this.fail(error))
    const arrival = this.leg?.arrive?.()
    if (arrival === undefined) {
      try {
        this.startAll()
      } catch (error) {
        this.end()
        throw error
      }
      return
    }
    this.rank.parked++
    arrival
      .finally(() => this.rank.parked--)
      .then(arrivals => {
        if (this.isOver) return
        this.arrivals = arrivals
        this.startAll()
      })
      .catch((error: unknown) => this.fail(error))
  }

  abort(): void {
    if (this.isOver) return
    this.end()
    this.rank.metrics.finish('abort', 0)
  }

  private startAll(): void {
    this.samples.forEach((sample, choice) => {
      this.start(sample, choice)
    })
  }

  private start({ prompt, answer, keys, content }: Sample, choice: number): void {
    // Clients may send the same request id twice at a time; the engine's own ids must differ.
    const id = `${this.call.id}-${choice}-${this.call.runtime.newId()}`
    const request = {
      id,
      promptTokens: prompt.length,
      outputTokens: answer.tokens.length,
      keys,
      remoteTokens: this.arrivals[choice]?.tokens ?? 0,
      holdsBlocks: this.leg?.holds === true,
      ...(this.rank.events === null ? {} : { content }),
    }
    this.rank.driver.submit(request, event => this.hear(choice, event))
    this.ids.push(id)
    if (content.lora !== null) this.call.runtime.adapters.waits(id, content.lora)
  }

  private fail(error: unknown): void {
    if (this.isOver) return
    this.end()
    this.rank.metrics.finish('error', 0)
    this.call.fail(ApiError.of(error))
  }

  private end(): void {
    this.isOver = true
    for (const id of this.ids) {
      this.rank.driver.abort(id)
      this.call.runtime.adapters.leaves(id)
    }
    this.leg?.abort?.()
  }

  private hear(choice: number, event: EngineEvent): void {
    const sample = this.samples[choice]
    if (this.isOver || sample === undefined) return
    const { metrics } = this.rank
    const { timing, adapters } = this.call.runtime
    const seconds = (timing.now() - this.startedAt) / 1000
    if (event.type === 'first-token') {
      adapters.runs(event.id)
      metrics.firstTokenAfter(seconds)
      this.sink.onToken?.(choice, 0)
    } else if (event.type === 'token') {
      this.sink.onToken?.(choice, event.index)
    } else if (event.type === 'finished') {
      adapters.leaves(event.id)
      metrics.finish(sample.answer.finish, seconds)
      if (this.samples[choice - 1]?.task !== sample.task)
        this.cached[sample.task] = this.arrivals[choice]?.cachedTokens ?? event.cachedTokens
      this.handOver(choice, sample, event)
      this.left--
      if (this.left === 0) this.finish()
    }
  }

  private handOver(
    choice: number,
    { prompt, answer }: Sample,
    event: EngineEvent & { type: 'finished' },
  ): void {
    const { id, heldBlocks: blocks, cachedTokens } = event
    const release = (): void => this.rank.driver.release(id)
    if (this.leg?.finished === undefined) {
      if (blocks.length > 0) release()
      return
    }
    // The last token's own keys and values are not computed: it would be the next step's input.
    const tokens = prompt.length + Math.max(0, answer.tokens.length - 1)
    this.leg.finished(choice, { blocks, tokens, cachedTokens, finish: answer.finish, release })
  }

  private finish(): void {
    this.isOver = true
    this.sink.onDone(this.usage(), this.leg?.answer?.() ?? {})
  }

  private usage(): Usage {
    const { blockSize } = this.call.runtime.options
    const completion = this.samples.reduce((sum, { answer }) => sum + answer.tokens.length, 0)
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
      total_tokens: prompts + completion,
      completion_tokens: completion,
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

/** vLLM's `continuous_usage_stats`: the counts so far, in each event; without it, nothing. */
export function runningUsage(
  options: { readonly include_usage?: unknown; readonly continuous_usage_stats?: unknown } | null | undefined,
): (prompt: number, answer: number) => object {
  if (options?.include_usage !== true || options.continuous_usage_stats !== true) return () => ({})
  return (prompt, answer) => ({
    usage: { prompt_tokens: prompt, total_tokens: prompt + answer, completion_tokens: answer },
  })
}
