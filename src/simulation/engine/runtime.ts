/** What all handlers of one simulated engine share. */
import { randomBytes } from 'node:crypto'
import { type Answer, type AnswerLimits, composeAnswer } from './answer.js'
import { EngineDriver, realTiming, type Timing } from './driver.js'
import { EngineMetrics } from './metrics.js'
import { type EngineOptions, parametersOf } from './options.js'
import { type Random, seededRandom } from './random.js'
import { ApiError } from './respond.js'
import { ResponseStore } from './response-store.js'
import { Engine } from './scheduler.js'
import { byteTokenizer, type EngineTokenizer, modelTokenizer } from './tokens.js'

/** vLLM's version whose answers these are. */
export const VLLM_VERSION = '0.32.0'
export const FINGERPRINT = `vllm-${VLLM_VERSION}-sim`

/** The fields of a request that bound its answer. */
export interface SamplingFields {
  readonly max_tokens?: number | null | undefined
  readonly min_tokens?: number | null | undefined
  readonly ignore_eos?: boolean | null | undefined
  readonly stop?: string | readonly string[] | null | undefined
}

export class Runtime {
  readonly engine: Engine
  readonly driver: EngineDriver
  readonly tokenizer: EngineTokenizer
  readonly metrics: EngineMetrics
  readonly responses = new ResponseStore()
  readonly random: Random
  /** Names that requests may use: the model and loaded LoRA adapters. */
  readonly models: Set<string>
  isAsleep = false
  /** Requests seen per path, so that tests can prove what was and was not forwarded. */
  readonly requests = new Map<string, number>()
  readonly startedAt = Math.floor(Date.now() / 1000)

  constructor(
    readonly options: EngineOptions,
    tokenizer?: EngineTokenizer,
    readonly timing: Timing = realTiming,
  ) {
    this.engine = new Engine(parametersOf(options))
    this.driver = new EngineDriver(this.engine, options.speed, timing)
    this.tokenizer =
      tokenizer ?? (options.modelDir === undefined ? byteTokenizer : modelTokenizer(options.modelDir))
    this.metrics = new EngineMetrics(options, this.engine)
    this.random = seededRandom(options.seed)
    this.models = new Set([options.model])
  }

  /** Most tokens of prompt and answer together. */
  get maxModelLen(): number {
    return Math.min(this.options.maxModelLen, this.engine.capacityTokens)
  }

  newId(): string {
    return randomBytes(8).toString('hex')
  }

  requireModel(name: string): void {
    if (this.models.has(name)) return
    const aliases = [...this.models].join(', ')
    throw ApiError.notFound(`The model \`${name}\` does not exist. Valid aliases: ${aliases}.`, 'model')
  }

  /** Tokens of a chat; a template's refusal is the client's fault. */
  encodeChat(body: Uint8Array): Uint32Array {
    try {
      return this.tokenizer.encodeChat(body)
    } catch (error) {
      throw ApiError.badRequest(error instanceof Error ? error.message : String(error), 'messages')
    }
  }

  /** The limits of an answer to that prompt; throws vLLM's 400 if the prompt, or both together, are too long. */
  limits(promptTokens: number, fields: SamplingFields): AnswerLimits {
    const length = this.maxModelLen
    this.checkPrompt(promptTokens)
    const asked = fields.max_tokens ?? null
    if (asked !== null && promptTokens + asked > length) {
      throw ApiError.badRequest(
        `This model's maximum context length is ${length} tokens. However, you requested ${asked} output tokens and ` +
          `your prompt contains at least ${promptTokens} input tokens, for a total of at least ` +
          `${promptTokens + asked} tokens. Please reduce the length of the input prompt or the number of requested ` +
          `output tokens. (parameter=input_tokens, value=${promptTokens})`,
        'input_tokens',
      )
    }
    const { stop } = fields
    return {
      most: asked ?? length - promptTokens,
      least: fields.min_tokens ?? 0,
      ignoreEos: fields.ignore_eos ?? false,
      stop: stop === null || stop === undefined ? [] : typeof stop === 'string' ? [stop] : stop,
      mean: this.options.answerTokens,
    }
  }

  /** Throws vLLM's 400 for a prompt that leaves no room for an answer. */
  checkPrompt(promptTokens: number): void {
    const length = this.maxModelLen
    if (promptTokens === 0) throw ApiError.badRequest('The decoder prompt cannot be empty', 'prompt')
    if (promptTokens < length) return
    throw ApiError.badRequest(
      `This model's maximum context length is ${length} tokens. However, your prompt contains at least ` +
        `${promptTokens} input tokens, which exceeds this limit even without any output tokens. Please reduce the ` +
        `length of the input prompt. (parameter=input_tokens, value=${promptTokens})`,
      'input_tokens',
    )
  }

  answer(prompt: Uint32Array, sample: number, limits: AnswerLimits): Answer {
    return composeAnswer(prompt, sample, this.options.seed, limits, this.tokenizer)
  }
}
