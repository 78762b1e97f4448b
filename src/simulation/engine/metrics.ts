/** `/metrics` under vLLM's names, as far as routers and dashboards read them. */
import type { AdapterGauge } from './adapter-gauge.js'
import type { EngineOptions } from './options.js'
import type { EngineStats } from './request.js'

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

  /** @param labels the rank's, with one more among them */
  render(name: string, labels: (more?: string) => string): string[] {
    let cumulative = 0
    const buckets = this.bounds.map((bound, at) => {
      cumulative += this.counts[at] ?? 0
      return `${name}_bucket{${labels(`le="${number(bound)}"`)}} ${number(cumulative)}`
    })
    return [
      ...buckets,
      `${name}_bucket{${labels('le="+Inf"')}} ${number(this.count)}`,
      `${name}_count{${labels()}} ${number(this.count)}`,
      `${name}_sum{${labels()}} ${number(this.sum)}`,
    ]
  }
}

/** Python's rendering: whole numbers end in `.0`. */
const number = (value: number): string => (Number.isInteger(value) ? `${value}.0` : String(value))

/** Counts and times of one data-parallel rank, which vLLM calls engine. */
export class EngineMetrics {
  readonly firstToken = new Histogram(TTFT_BOUNDS)
  readonly latency = new Histogram(LATENCY_BOUNDS)
  readonly finished: Record<FinishReason, number> = { stop: 0, length: 0, abort: 0, error: 0 }

  constructor(readonly rank: number) {}

  /** Seconds from a request's arrival to its first token. */
  firstTokenAfter(seconds: number): void {
    this.firstToken.observe(seconds)
  }

  finish(reason: FinishReason, seconds: number): void {
    this.finished[reason]++
    if (reason !== 'abort') this.latency.observe(seconds)
  }
}

/** What a rank has to tell. */
export interface RankReport {
  readonly stats: EngineStats
  readonly metrics: EngineMetrics
}

interface Family {
  readonly type: 'gauge' | 'counter'
  readonly name: string
  readonly help: string
  readonly value: (stats: EngineStats) => number
}

const FAMILIES: readonly Family[] = [
  {
    type: 'gauge',
    name: 'num_requests_running',
    help: 'Number of requests in model execution batches.',
    value: stats => stats.running,
  },
  {
    type: 'gauge',
    name: 'num_requests_waiting',
    help: 'Number of requests waiting to be processed.',
    value: stats => stats.waiting,
  },
  {
    type: 'gauge',
    name: 'kv_cache_usage_perc',
    help: 'KV-cache usage. 1 means 100 percent usage.',
    value: stats => stats.usedBlocks / stats.blocks,
  },
  {
    type: 'counter',
    name: 'prefix_cache_queries_total',
    help: 'Prefix cache queries, in tokens.',
    value: stats => stats.prefixQueries,
  },
  {
    type: 'counter',
    name: 'prefix_cache_hits_total',
    help: 'Prefix cache hits, in tokens.',
    value: stats => stats.prefixHits,
  },
  {
    type: 'counter',
    name: 'num_preemptions_total',
    help: 'Cumulative number of preemptions.',
    value: stats => stats.preemptions,
  },
  {
    type: 'counter',
    name: 'prompt_tokens_total',
    help: 'Number of prefill tokens processed.',
    value: stats => stats.promptTokens,
  },
  {
    type: 'counter',
    name: 'generation_tokens_total',
    help: 'Number of generation tokens processed.',
    value: stats => stats.generationTokens,
  },
]

/** The text of `/metrics`: each family with a line, or lines, for every rank. */
export function renderMetrics(
  options: EngineOptions,
  ranks: readonly RankReport[],
  adapters: AdapterGauge,
): string {
  const lines: string[] = []
  const labels = ({ metrics }: RankReport, more?: string): string =>
    [`engine="${metrics.rank}"`, ...(more === undefined ? [] : [more]), `model_name="${options.model}"`].join(
      ',',
    )
  const family = (type: string, name: string, help: string, of: (rank: RankReport) => string[]): void => {
    lines.push(`# HELP vllm:${name} ${help}`, `# TYPE vllm:${name} ${type}`, ...ranks.flatMap(of))
  }
  for (const { type, name, help, value } of FAMILIES) {
    family(type, name, help, rank => [`vllm:${name}{${labels(rank)}} ${number(value(rank.stats))}`])
  }
  const success = 'request_success_total'
  family('counter', success, 'Count of successfully processed requests.', rank =>
    Object.entries(rank.metrics.finished).map(
      ([reason, count]) => `vllm:${success}{${labels(rank, `finished_reason="${reason}"`)}} ${number(count)}`,
    ),
  )
  const ttft = 'time_to_first_token_seconds'
  family('histogram', ttft, 'Histogram of time to first token in seconds.', rank =>
    rank.metrics.firstToken.render(`vllm:${ttft}`, more => labels(rank, more)),
  )
  const latency = 'e2e_request_latency_seconds'
  family('histogram', latency, 'Histogram of e2e request latency in seconds.', rank =>
    rank.metrics.latency.render(`vllm:${latency}`, more => labels(rank, more)),
  )
  lines.push(
    '# HELP vllm:lora_requests_info Running stats on lora requests.',
    '# TYPE vllm:lora_requests_info gauge',
    ...adapters.render(),
  )
  family('gauge', 'cache_config_info', 'Information of the LLMEngine CacheConfig', ({ metrics }) => [
    `vllm:cache_config_info{${cacheConfig(options, metrics.rank)}} 1.0`,
  ])
  return `${lines.join('\n')}\n`
}

const cacheConfig = ({ blockSize, blocks }: EngineOptions, rank: number): string =>
  [
    `block_size="${blockSize}"`,
    'cache_dtype="auto"',
    'enable_prefix_caching="True"',
    `engine="${rank}"`,
    `kv_cache_size_tokens="${blocks * blockSize}"`,
    `num_gpu_blocks="${blocks}"`,
  ].join(',')
