/** What `/metrics` tells of hand-offs, under the names of vLLM 0.32 (captured) and SGLang 0.5.23 (source). */
import type { EngineOptions } from '../options.js'
import type { EngineStats } from '../request.js'
import type { HandOffCounts } from './counters.js'

/** What a rank has to tell. */
export interface HandOffReport {
  readonly rank: number
  readonly stats: EngineStats
  /** Requests that wait for their hand-off. */
  readonly parked: number
}

/** Python's rendering: whole numbers end in `.0`. */
const number = (value: number): string => (Number.isInteger(value) ? `${value}.0` : String(value))

type Lines = readonly (readonly [labels: string, value: number])[]

const family = (type: string, name: string, help: string, lines: Lines): string[] => [
  `# HELP ${name} ${help}`,
  `# TYPE ${name} ${type}`,
  ...lines.map(([labels, value]) => `${name}{${labels}} ${number(value)}`),
]

/** Lines to add to the page of a vLLM engine with a connector. Counts of the whole engine stand at its first rank. */
export function vllmHandOffLines(
  options: EngineOptions,
  reports: readonly HandOffReport[],
  counts: HandOffCounts,
): string[] {
  const labels = (rank: number, more = ''): string => `engine="${rank}",model_name="${options.model}"${more}`
  const each = (value: (report: HandOffReport) => number, more = ''): Lines =>
    reports.map(report => [labels(report.rank, more), value(report)])
  const source = (name: string, value: (stats: EngineStats) => number): Lines =>
    each(({ stats }) => value(stats), `,source="${name}"`)
  const reason = (name: string, value: (report: HandOffReport) => number): Lines =>
    each(value, `,reason="${name}"`)
  const asked = (stats: EngineStats): number => stats.prefixQueries - stats.prefixHits
  const lines = [
    ...family('gauge', 'vllm:num_requests_waiting_by_reason', 'Number of waiting requests by reason.', [
      ...reason('capacity', ({ stats, parked }) => stats.waiting - parked),
      ...reason('deferred', ({ parked }) => parked),
    ]),
    ...family(
      'counter',
      'vllm:external_prefix_cache_queries_total',
      'External prefix cache queries from KV connector cross-instance cache sharing, in tokens.',
      each(({ stats }) => asked(stats)),
    ),
    ...family(
      'counter',
      'vllm:external_prefix_cache_hits_total',
      'External prefix cache hits from KV connector cross-instance cache sharing, in tokens.',
      each(({ stats }) => stats.remoteTokens),
    ),
    // vLLM counts these at the end of a prefill, this at its beginning.
    ...family('counter', 'vllm:prompt_tokens_by_source_total', 'Number of prompt tokens by source.', [
      ...source('local_compute', stats => asked(stats) - stats.remoteTokens),
      ...source('local_cache_hit', stats => stats.prefixHits),
      ...source('external_kv_transfer', stats => stats.remoteTokens),
    ]),
  ]
  return options.kvConnector === 'nixl' ? [...lines, ...nixlLines(labels(0), counts)] : lines
}

function nixlLines(labels: string, counts: HandOffCounts): string[] {
  const { received, bytes, transferMs, expired, rejected, recomputed } = counts
  const histogram = (name: string, help: string, sum: number): string[] => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} histogram`,
    `${name}_bucket{${labels},le="+Inf"} ${number(received)}`,
    `${name}_count{${labels}} ${number(received)}`,
    `${name}_sum{${labels}} ${number(sum)}`,
  ]
  return [
    ...histogram(
      'vllm:nixl_xfer_time_seconds',
      'Histogram of transfer duration for NIXL KV Cache transfers.',
      transferMs / 1000,
    ),
    ...histogram(
      'vllm:nixl_bytes_transferred',
      'Histogram of bytes transferred per NIXL KV Cache transfers.',
      bytes,
    ),
    ...family(
      'counter',
      'vllm:nixl_num_failed_transfers_total',
      'Number of failed NIXL KV Cache transfers.',
      [[labels, rejected + recomputed]],
    ),
    ...family(
      'counter',
      'vllm:nixl_num_kv_expired_reqs_total',
      'Number of requests that had their KV expire.',
      [[labels, expired]],
    ),
  ]
}

/** Lines of an SGLang engine, by its part. */
export function sglangLines(
  options: EngineOptions,
  reports: readonly HandOffReport[],
  counts: HandOffCounts,
): string[] {
  const isPrefill = options.role === 'prefill'
  const gauge = (name: string, help: string, value: (report: HandOffReport) => number): string[] =>
    family(
      'gauge',
      `sglang:${name}`,
      help,
      reports.map(report => [
        `dp_rank="${report.rank}",engine_type="${options.role}",model_name="${options.model}"`,
        value(report),
      ]),
    )
  const failed = isPrefill ? 'num_bootstrap_failed_reqs_total' : 'num_transfer_failed_reqs_total'
  return [
    ...gauge('num_running_reqs', 'The number of running requests.', ({ stats }) => stats.running),
    ...gauge(
      'num_queue_reqs',
      'The number of requests in the waiting queue.',
      ({ stats, parked }) => stats.waiting - parked,
    ),
    ...gauge('token_usage', 'The token usage.', ({ stats }) => stats.usedBlocks / stats.blocks),
    ...gauge(
      'num_prefill_bootstrap_queue_reqs',
      'The number of requests in the prefill bootstrap queue.',
      ({ parked }) => (isPrefill ? parked : 0),
    ),
    ...gauge(
      'num_prefill_inflight_queue_reqs',
      'The number of requests in the prefill inflight queue.',
      ({ stats }) => stats.holding,
    ),
    ...gauge(
      'num_decode_transfer_queue_reqs',
      'The number of requests in the decode transfer queue.',
      ({ parked }) => (isPrefill ? 0 : parked),
    ),
    ...family('counter', `sglang:${failed}`, 'The number of failed hand-offs.', [
      [`engine_type="${options.role}",model_name="${options.model}"`, counts.rejected],
    ]),
  ]
}
