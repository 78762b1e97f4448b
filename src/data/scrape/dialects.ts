/**
 * Which lines of an engine's metrics page say how busy it is and how its KV cache is cut, one row an engine. Adding an
 * engine is adding a row; which row a page is of is seen from the page itself.
 */

import type { AdapterLabels } from './adapter-series.js'

/** What is read for each engine core; VALUE gives the place of each in a group's numbers. */
export const VALUE = {
  /** Requests that the engine works on. */
  running: 0,
  /** Requests in its queue. */
  waiting: 1,
  /** Part of its KV blocks in use, 0 to 1. */
  kvUse: 2,
  /** The same as a number of blocks. */
  usedBlocks: 3,
  /** Tokens in a block. */
  blockSize: 4,
  /** Blocks in its KV cache. */
  blocks: 5,
  /** Tokens that its KV cache has room for. */
  tokens: 6,
  /** Blocks of all data-parallel ranks together, said by each. */
  blocksOfAll: 7,
} as const
export type ValueName = keyof typeof VALUE
export const VALUES = 8

/** Where a value stands on the page. */
export interface Use {
  readonly value: ValueName
  readonly metric: string
  /** Only series with this label. */
  readonly where?: readonly [label: string, value: string]
  /** The number is the value of a label, the first of these that holds one, and not the sample's. */
  readonly labels?: readonly string[]
}

export interface Dialect {
  readonly engine: string
  /**
   * The label that tells engine cores (data-parallel ranks, models) on one page apart. Several series of one core are
   * readings of the same thing, of which the highest counts; cores add up.
   */
  readonly core: string
  /** Whether that label's values are data-parallel ranks. */
  readonly ranks: boolean
  /**
   * Whether the page may come without all the lines that nobody here reads, if they are asked for by name. Python's
   * prometheus_client understands `?name[]=…`, but not in its multi-process mode (which SGLang and trtllm-serve always
   * use): the page is empty there.
   */
  readonly byName: boolean
  /** In the order of real pages, which makes the search short. */
  readonly uses: readonly Use[]
  /** The gauge of LoRA adapters; absent: the engine has none. */
  readonly adapters?: AdapterLabels
}

export const DIALECTS: readonly Dialect[] = [
  {
    /**
     * Checked against pages of vLLM 0.22.1 and 0.32.0. `gpu_cache_usage_perc` was the name before 0.10.
     *
     * `block_size` is the smallest of all KV groups of a hybrid model; prefixes are cached by that of full attention,
     * where the engine names one. `num_gpu_blocks` is, on every rank's line, the sum over the ranks that the API server
     * knows (two ranks of 32 blocks say 64 each), while `kv_cache_size_tokens`, which 0.22 lacks, is one rank's.
     */
    engine: 'vllm',
    core: 'engine',
    ranks: true,
    byName: true,
    uses: [
      { value: 'running', metric: 'vllm:num_requests_running' },
      { value: 'waiting', metric: 'vllm:num_requests_waiting' },
      { value: 'kvUse', metric: 'vllm:kv_cache_usage_perc' },
      { value: 'kvUse', metric: 'vllm:gpu_cache_usage_perc' },
      {
        value: 'blockSize',
        metric: 'vllm:cache_config_info',
        labels: ['effective_attention_block_size', 'block_size'],
      },
      { value: 'tokens', metric: 'vllm:cache_config_info', labels: ['kv_cache_size_tokens'] },
      { value: 'blocksOfAll', metric: 'vllm:cache_config_info', labels: ['num_gpu_blocks'] },
    ],
    // By the source of its PrometheusStatLogger, and a line recorded by others: no page with adapters was at hand.
    adapters: {
      metric: 'vllm:lora_requests_info',
      running: 'running_lora_adapters',
      waiting: 'waiting_lora_adapters',
      max: 'max_lora',
    },
  },
  {
    /**
     * Checked against a page of SGLang 0.5.23; `cache_config_info` is what versions before 0.5.11 had instead of the
     * gauges, after llm-d's router, which reads it. All tensor-parallel ranks report the same requests if
     * `--enable-metrics-for-all-schedulers` is on, and with priorities the series of `priority=""` is the sum of them:
     * so the highest of a data-parallel rank's series is right.
     */
    engine: 'sglang',
    core: 'dp_rank',
    ranks: true,
    byName: false,
    uses: [
      { value: 'blockSize', metric: 'sglang:page_size' },
      { value: 'blocks', metric: 'sglang:num_pages' },
      { value: 'running', metric: 'sglang:num_running_reqs' },
      { value: 'waiting', metric: 'sglang:num_queue_reqs' },
      { value: 'kvUse', metric: 'sglang:token_usage' },
      { value: 'blockSize', metric: 'sglang:cache_config_info', labels: ['page_size'] },
      { value: 'blocks', metric: 'sglang:cache_config_info', labels: ['num_pages'] },
    ],
  },
  {
    /**
     * By the source of TensorRT-LLM's metrics collector; no page of a running one was at hand. Its ranks add up behind
     * one series. The Prometheus page is at /prometheus/metrics: /metrics gives statistics in JSON.
     */
    engine: 'trtllm-serve',
    core: 'model_name',
    ranks: false,
    byName: false,
    uses: [
      { value: 'kvUse', metric: 'trtllm_kv_cache_utilization' },
      { value: 'running', metric: 'trtllm_num_requests_running' },
      { value: 'waiting', metric: 'trtllm_num_requests_waiting' },
      { value: 'blocks', metric: 'trtllm_kv_cache_max_blocks' },
      { value: 'blockSize', metric: 'trtllm_kv_cache_tokens_per_block' },
    ],
  },
  {
    /** By the sample page in the README of Triton's TensorRT-LLM backend, which has no `waiting` and no `fraction` yet. */
    engine: 'triton-tensorrt-llm',
    core: 'model',
    ranks: false,
    byName: false,
    uses: [
      { value: 'waiting', metric: 'nv_trt_llm_request_metrics', where: ['request_type', 'waiting'] },
      { value: 'running', metric: 'nv_trt_llm_request_metrics', where: ['request_type', 'scheduled'] },
      ...(
        [
          ['kvUse', 'fraction'],
          ['usedBlocks', 'used'],
          ['blocks', 'max'],
          ['blockSize', 'tokens_per'],
        ] as const
      ).map(
        ([value, type]): Use => ({
          value,
          metric: 'nv_trt_llm_kv_cache_block_metrics',
          where: ['kv_cache_block_type', type],
        }),
      ),
    ],
  },
  {
    /**
     * Checked against a page of a llama.cpp of autumn 2026, which has no `kv_cache_usage_ratio` any longer. It has one
     * slot a request and no KV blocks that others could reuse by prefix.
     */
    engine: 'llama.cpp',
    core: 'model',
    ranks: false,
    byName: false,
    uses: [
      { value: 'kvUse', metric: 'llamacpp:kv_cache_usage_ratio' },
      { value: 'running', metric: 'llamacpp:requests_processing' },
      { value: 'waiting', metric: 'llamacpp:requests_deferred' },
    ],
  },
]
