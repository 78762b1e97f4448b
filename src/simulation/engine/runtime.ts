/** What all handlers of one simulated engine share. */
import { randomBytes } from 'node:crypto'
import { AdapterGauge } from './adapter-gauge.js'
import { type Answer, type AnswerLimits, composeAnswer } from './answer.js'
import { realTiming, type Timing } from './driver.js'
import { FaultSwitch } from './faults.js'
import { HandOff } from './hand-off/hand-off.js'
import type { KvPublisher } from './kv-events/publisher.js'
import type { EngineOptions } from './options.js'
import { type Random, seededRandom } from './random.js'
import { Rank } from './rank.js'
import type { EngineStats } from './request.js'
import { ApiError } from './respond.js'
import { ResponseStore } from './response-store.js'
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
  readonly temperature?: number | null | undefined
}

export class Runtime {
  readonly ranks: readonly Rank[]
  readonly tokenizer: EngineTokenizer
  readonly responses = new ResponseStore()
  readonly random: Random
  readonly handOff: HandOff
  readonly faults: FaultSwitch
  /** Stops listening for so many milliseconds; set once the engine listens. */
  closeFor: (ms: number) => void = () => undefined
  /** Names that requests may use: the model and loaded LoRA adapters. */
  readonly models: Set<string>
  /** Adapters that requests in the engine ask for, of all ranks, as in vLLM. */
  readonly adapters: AdapterGauge
  isAsleep = false
  /** Requests seen per path, so that tests can prove what was and was not forwarded. */
  readonly requests = new Map<string, number>()
  readonly startedAt = Math.floor(Date.now() / 1000)

  /** @param publishers one for each data-parallel rank, or null */
  constructor(
    readonly options: EngineOptions,
    publishers: readonly (KvPublisher | null)[],
    tokenizer?: EngineTokenizer,
    readonly timing: Timing = realTiming,
  ) {
    this.ranks = publishers.map((publisher, index) => new Rank(index, options, timing, publisher))
    this.tokenizer =
      tokenizer ?? (options.modelDir === undefined ? byteTokenizer : modelTokenizer(options.modelDir))
    this.random = seededRandom(options.seed)
    this.models = new Set([options.model])
    this.adapters = new AdapterGauge(options.maxLoras)
    this.faults = new FaultSwitch(options.fault, options.failRate, this.random)
    this.handOff = HandOff.create(options, timing)
  }

  /** Most tokens of prompt and answer together. */
  get maxModelLen(): number {
    return Math.min(this.options.maxModelLen, this.options.blocks * this.options.blockSize)
  }

  /** All ranks together. */
  stats(): EngineStats {
    return addUp(this.ranks.map(rank => rank.stats()))
  }

  /**
   * The rank that serves a request: the one its `x-data-parallel-rank` header names, else the least loaded. A header
   * that is no number is passed over, as in vLLM; one out of range is the client's fault.
   */
  rankOf(header: string | undefined): Rank {
    const count = this.ranks.length
    const wanted = /^-?\d+$/.test(header ?? '') ? Number(header) : null
    const rank = wanted === null ? this.leastLoaded() : this.ranks[wanted]
    if (rank !== undefined) return rank
    throw ApiError.badRequest(`data_parallel_rank ${wanted} is out of range [0, ${count}).`)
  }

  /** vLLM's own weighing: a waiting request counts as four running ones. */
  private leastLoaded(): Rank | undefined {
    const score = (rank: Rank): number => {
      const { waiting, running } = rank.stats()
      return waiting * 4 + running
    }
    return this.ranks.reduce((best, rank) => (score(rank) < score(best) ? rank : best))
  }

  /** Which leg of a disaggregated request a body is: by the engine's role, or by what the body asks for. */
  legOf(body: Buffer): 'prefill' | 'decode' | null {
    const { role } = this.options
    if (role === 'prefill' || role === 'decode') return role
    const text = body.toString('utf8')
    if (/"do_remote_decode"\s*:\s*true/.test(text)) return 'prefill'
    return /"do_remote_prefill"\s*:\s*true/.test(text) ? 'decode' : null
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
      isGreedy: fields.temperature === 0,
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

  /** At temperature 0 it depends on the prompt alone: engines of one model agree, whatever their seeds. */
  answer(prompt: Uint32Array, sample: number, limits: AnswerLimits): Answer {
    const [seed, choice] = limits.isGreedy ? [0, 0] : [this.options.seed, sample]
    return composeAnswer(prompt, choice, seed, limits, this.tokenizer)
  }
}

function addUp(all: readonly EngineStats[]): EngineStats {
  return all.reduce((total, one) => ({
    waiting: total.waiting + one.waiting,
    running: total.running + one.running,
    blocks: total.blocks + one.blocks,
    usedBlocks: total.usedBlocks + one.usedBlocks,
    cachedBlocks: total.cachedBlocks + one.cachedBlocks,
    evictedBlocks: total.evictedBlocks + one.evictedBlocks,
    prefixQueries: total.prefixQueries + one.prefixQueries,
    prefixHits: total.prefixHits + one.prefixHits,
    remoteTokens: total.remoteTokens + one.remoteTokens,
    pulling: total.pulling + one.pulling,
    holding: total.holding + one.holding,
    promptTokens: total.promptTokens + one.promptTokens,
    generationTokens: total.generationTokens + one.generationTokens,
    finished: total.finished + one.finished,
    aborted: total.aborted + one.aborted,
    preemptions: total.preemptions + one.preemptions,
    steps: total.steps + one.steps,
    busyMs: total.busyMs + one.busyMs,
  }))
}
