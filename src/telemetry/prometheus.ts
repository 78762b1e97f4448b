/**
 * The Prometheus page: prom-client formats it, the numbers come from the workers' shared counters and from callbacks
 * that read the state when it is scraped.
 */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { answerCounters } from './answer-counters.js'
import { type CounterSums, ENDPOINTS, ERROR_CODES, POD_OUTCOMES } from './counters.js'
import { type DecisionLogSource, decisionMetrics } from './decision-metrics.js'
import { type DiscoverySource, discoveryMetrics } from './discovery-metrics.js'
import { type EngineSource, engineMetrics } from './engine-metrics.js'
import { type CacheSource, eventMetrics } from './event-metrics.js'
import { Series } from './series.js'
import { type SplitSource, splitMetrics } from './split-metrics.js'
import { SummedHistogram } from './summed-histogram.js'
import { type ModelSource, workflowMetrics } from './workflow-metrics.js'

/** A pod as the page shows it. */
export interface PodGauges {
  readonly id: string
  readonly slot: number
  readonly inflight: number
  readonly pendingTokens: number
  readonly activeTokens: number
  readonly predictedBlocks: number
  /** 0 closed, 1 open, 2 and 3 half open. */
  readonly breaker: number
  readonly ready: boolean
}

/** What is read at each scrape besides the counters. */
export interface Gauges
  extends CacheSource,
    DecisionLogSource,
    DiscoverySource,
    EngineSource,
    ModelSource,
    SplitSource {
  pods(): readonly PodGauges[]
  index(): {
    entries: number
    bytes: number
    sessions: number
    /** Since the start. */
    shedBlocks: number
    demotedPods: number
  }
  /** Bytes of request bodies that wait for the thread pool or are on it. */
  queuedPrepareBytes(): number
}

export function createMetricsPage(sums: CounterSums, gauges: Gauges): () => Promise<string> {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry })
  requestCounters(registry, sums)
  answerCounters(registry, sums)
  podMetrics(registry, sums, gauges)
  eventMetrics(registry, gauges)
  engineMetrics(registry, gauges)
  discoveryMetrics(registry, gauges)
  decisionMetrics(registry, gauges)
  splitMetrics(registry, gauges)
  workflowMetrics(registry, sums, gauges)
  const { layout } = sums
  const histogram = (name: string, help: string, at: typeof layout.duration) =>
    new SummedHistogram(name, help, at.bounds, () => [['', sums.histogram(at)]], registry)
  histogram(
    'phyllo_request_duration_seconds',
    'From the request line to the last byte of the answer.',
    layout.duration,
  )
  histogram(
    'phyllo_first_byte_seconds',
    'From sending a request to a pod to its first body byte.',
    layout.firstByte,
  )
  histogram(
    'phyllo_decision_seconds',
    "The router's own work: prepare, filter, score, pick and book.",
    layout.decision,
  )
  return () => registry.metrics()
}

function requestCounters(registry: Registry, sums: CounterSums): void {
  const registers = [registry]
  new Counter({
    name: 'phyllo_requests_total',
    help: 'Answers by endpoint and HTTP status; 499 where the client went away first.',
    labelNames: ['endpoint', 'status'],
    registers,
    collect() {
      this.reset()
      ENDPOINTS.forEach((endpoint, i) => {
        for (const [status, count] of sums.statuses(i)) this.inc({ endpoint, status: String(status) }, count)
      })
    },
  })
  new Counter({
    name: 'phyllo_errors_total',
    help: "Errors of the router's catalogue by code.",
    labelNames: ['code'],
    registers,
    collect() {
      this.reset()
      ERROR_CODES.forEach((code, i) => {
        this.inc({ code }, sums.at(sums.layout.errors + i))
      })
    },
  })
  const simple: [name: string, help: string, index: number][] = [
    ['phyllo_retries_total', 'Requests sent to a further pod after one failed.', sums.layout.retries],
    [
      'phyllo_plugin_failures_total',
      'Errors of plugins on a request, which was then decided without them.',
      sums.layout.pluginFailures,
    ],
    [
      'phyllo_client_aborts_total',
      'Clients that went away before their answer was complete.',
      sums.layout.aborts,
    ],
    ['phyllo_relayed_bytes_total', 'Body bytes sent to clients.', sums.layout.bytesOut],
    [
      'phyllo_prompt_tokens_total',
      'Prompt tokens of requests whose profile counts them.',
      sums.layout.promptTokens,
    ],
    [
      'phyllo_prompt_tokens_expected_cached_total',
      'Of those, tokens that the picked pod was expected to hold in its cache.',
      sums.layout.cachedTokens,
    ],
  ]
  for (const [name, help, index] of simple) {
    new Counter({
      name,
      help,
      registers,
      collect() {
        this.reset()
        this.inc(sums.at(index))
      },
    })
  }
}

function podMetrics(registry: Registry, sums: CounterSums, gauges: Gauges): void {
  const registers = [registry]
  new Counter({
    name: 'phyllo_pod_requests_total',
    help: 'Requests sent to a pod by how they ended.',
    labelNames: ['pod', 'outcome'],
    registers,
    collect() {
      this.reset()
      for (const { id: pod, slot } of gauges.pods()) {
        POD_OUTCOMES.forEach((outcome, i) => {
          this.inc({ pod, outcome }, sums.at(sums.layout.pods + slot * POD_OUTCOMES.length + i))
        })
      }
    },
  })
  const pods = new Series(
    registry,
    'pod',
    () => gauges.pods(),
    ({ id }) => id,
  )
  pods.gauges(
    ['phyllo_pod_inflight', 'Requests on the pod now.', pod => pod.inflight],
    [
      'phyllo_pod_pending_prompt_tokens',
      'Uncached prompt tokens that await their first byte.',
      pod => pod.pendingTokens,
    ],
    [
      'phyllo_pod_active_tokens',
      'Tokens that the requests on the pod hold in its KV cache: their prompts, and their answers so far.',
      pod => pod.activeTokens,
    ],
    [
      'phyllo_pod_predicted_blocks',
      'KV blocks that the pod is believed to hold.',
      pod => pod.predictedBlocks,
    ],
    ['phyllo_pod_breaker', '0 closed, 1 open, 2 half open.', pod => Math.min(pod.breaker, 2)],
    ['phyllo_pod_ready', '1 if the pod takes new requests.', pod => (pod.ready ? 1 : 0)],
  )
  const whole: [name: string, help: string, value: () => number][] = [
    ['phyllo_index_entries', 'Distinct blocks in the prefix index.', () => gauges.index().entries],
    ['phyllo_index_bytes', 'Memory of the prefix index.', () => gauges.index().bytes],
    [
      'phyllo_index_shed_blocks',
      'Predicted blocks dropped since the start because the index reached cache.maxBytes.',
      () => gauges.index().shedBlocks,
    ],
    [
      'phyllo_index_demoted_pods',
      'Pods whose exact state was given up since the start because the index reached cache.maxBytes.',
      () => gauges.index().demotedPods,
    ],
    ['phyllo_sessions', 'Sessions remembered.', () => gauges.index().sessions],
    [
      'phyllo_prepare_queued_bytes',
      'Request bodies that wait to be tokenized on the thread pool, or are.',
      () => gauges.queuedPrepareBytes(),
    ],
  ]
  for (const [name, help, value] of whole) {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value())
      },
    })
  }
}
