/** `/metrics` under vLLM's names, as far as routers and dashboards read them. */
import type { EngineOptions } from './options.js'
import type { Engine } from './scheduler.js'

/** vLLM's own bounds of time_to_first_token_seconds. */
const TTFT_BOUNDS = [
  0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160, 640,
  2560,
]
/** vLLM's own bounds of e2e_request_latency_seconds. */
const LATENCY_BOUNDS = [
  0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680,
]

export type FinishReason = 'stop' | 'length' | 'abort' | 'error'

class Histogram {
  private readonly counts: number[]
  private sum = 0
  private count = 0

  constructor(private readonly bounds: readonly number[]) {
    this.counts = bounds.map(() => 0)
  }

  observe(value: number): void {
    this.sum += value
    this.count++
    const at = this.bounds.findIndex(bound => value <= bound)
    if (at >= 0) this.counts[at] = (this.counts[at] ?? 0) + 1
  }

  render(name: string, labels: string): string[] {
    let cumulative = 0
    const buckets = this.bounds.map((bound, at) => {
      cumulative += this.counts[at] ?? 0
      return `${name}_bucket{engine="0",le="${number(bound)}",${labels}} ${number(cumulative)}`
    })
    return [
      ...buckets,
      `${name}_bucket{engine="0",le="+Inf",${labels}} ${number(this.count)}`,
      `${name}_count{engine="0",${labels}} ${number(this.count)}`,
      `${name}_sum{engine="0",${labels}} ${number(this.sum)}`,
    ]
  }
}

/** Python's rendering: whole numbers end in `.0`. */
const number = (value: number): string => (Number.isInteger(value) ? `${value}.0` : String(value))

export class EngineMetrics {
  private readonly firstToken = new Histogram(TTFT_BOUNDS)
  private readonly latency = new Histogram(LATENCY_BOUNDS)
  private readonly finished: Record<FinishReason, number> = { stop: 0, length: 0, abort: 0, error: 0 }

  constructor(
    private readonly options: EngineOptions,
    private readonly engine: Engine,
  ) {}

  /** Seconds from a request's arrival to its first token. */
  firstTokenAfter(seconds: number): void {
    this.firstToken.observe(seconds)
  }

  finish(reason: FinishReason, seconds: number): void {
    this.finished[reason]++
    if (reason !== 'abort') this.latency.observe(seconds)
  }

  render(): string {
    const stats = this.engine.stats()
    const labels = `model_name="${this.options.model}"`
    const lines: string[] = []
    const add = (type: 'gauge' | 'counter', name: string, help: string, value: number): void => {
      lines.push(`# HELP vllm:${name} ${help}`, `# TYPE vllm:${name} ${type}`)
      lines.push(`vllm:${name}{engine="0",${labels}} ${number(value)}`)
    }
    add('gauge', 'num_requests_running', 'Number of requests in model execution batches.', stats.running)
    add('gauge', 'num_requests_waiting', 'Number of requests waiting to be processed.', stats.waiting)
    add(
      'gauge',
      'kv_cache_usage_perc',
      'KV-cache usage. 1 means 100 percent usage.',
      stats.usedBlocks / stats.blocks,
    )
    add('counter', 'prefix_cache_queries_total', 'Prefix cache queries, in tokens.', stats.prefixQueries)
    add('counter', 'prefix_cache_hits_total', 'Prefix cache hits, in tokens.', stats.prefixHits)
    add('counter', 'num_preemptions_total', 'Cumulative number of preemptions.', stats.preemptions)
    add('counter', 'prompt_tokens_total', 'Number of prefill tokens processed.', stats.promptTokens)
    add(
      'counter',
      'generation_tokens_total',
      'Number of generation tokens processed.',
      stats.generationTokens,
    )
    lines.push('# HELP vllm:request_success_total Count of successfully processed requests.')
    lines.push('# TYPE vllm:request_success_total counter')
    for (const [reason, count] of Object.entries(this.finished)) {
      lines.push(
        `vllm:request_success_total{engine="0",finished_reason="${reason}",${labels}} ${number(count)}`,
      )
    }
    const ttft = 'vllm:time_to_first_token_seconds'
    lines.push(`# HELP ${ttft} Histogram of time to first token in seconds.`, `# TYPE ${ttft} histogram`)
    lines.push(...this.firstToken.render(ttft, labels))
    const e2e = 'vllm:e2e_request_latency_seconds'
    lines.push(`# HELP ${e2e} Histogram of e2e request latency in seconds.`, `# TYPE ${e2e} histogram`)
    lines.push(...this.latency.render(e2e, labels))
    lines.push('# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig')
    lines.push('# TYPE vllm:cache_config_info gauge', `vllm:cache_config_info{${this.cacheConfig()}} 1.0`)
    return `${lines.join('\n')}\n`
  }

  private cacheConfig(): string {
    const { blockSize, blocks } = this.options
    return [
      `block_size="${blockSize}"`,
      'cache_dtype="auto"',
      'enable_prefix_caching="True"',
      'engine="0"',
      `kv_cache_size_tokens="${blocks * blockSize}"`,
      `num_gpu_blocks="${blocks}"`,
    ].join(',')
  }
}
