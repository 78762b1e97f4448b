/** The figures of a run. All times are virtual milliseconds. NaN, where there is nothing to measure, is null in JSON. */
import { type Distribution, distributionOf, quantileOf } from './quantiles.js'
import { FATE, type Recorder } from './recorder.js'
import type { Scenario, Slo } from './scenario.js'
import { type Series, seriesOf } from './series.js'
import type { RunRecord } from './simulation.js'

export interface PodResult {
  readonly id: string
  /** That it answered. */
  readonly requests: number
  /** Of prompts that it computed. */
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly outputTokens: number
  /** Requests on the pod, on average over the run. */
  readonly meanInflight: number
  /** Part of the run in which the engine computed. */
  readonly busy: number
  readonly preemptions: number
  readonly evictedBlocks: number
}

export interface SimulationResult {
  readonly profile: string
  readonly seed: number
  readonly requests: number
  readonly completed: number
  /** By reason. The first two are the router's 503, the third an engine's 400. */
  readonly rejected: { readonly overloaded: number; readonly noPod: number; readonly tooLong: number }
  /** From the first arrival to the last end. */
  readonly durationMs: number
  readonly slo: Slo
  /** Requests that met the SLO: each second, and as a part of all requests, rejected ones included. */
  readonly goodput: { readonly requestsPerSecond: number; readonly fraction: number }
  readonly ttftMs: Distribution
  /** Time per token after the first; of answers of two tokens or more. */
  readonly tpotMs: Distribution
  readonly e2eMs: Distribution
  /** Prompt tokens found in caches over all prompt tokens of completed requests. */
  readonly hitRate: number
  readonly promptTokens: number
  readonly outputTokens: number
  readonly outputTokensPerSecond: number
  readonly preemptions: number
  /** Most over mean of the pods: of requests on them on average over the run, and of prompt tokens computed. */
  readonly imbalance: { readonly inflight: number; readonly prefill: number }
  /** Requests whose prompt another pod computed. */
  readonly handOffs: {
    readonly requests: number
    /** Prompt tokens whose blocks were moved. */
    readonly tokens: number
    /** From when a prompt was computed to when its blocks were where it is answered. */
    readonly ms: Distribution
  }
  readonly pods: readonly PodResult[]
  readonly series: Series
  /** TTFT at 0 %, 1 %, … 100 % of the completed requests. */
  readonly ttftQuantilesMs: readonly number[]
  /** Real time that the run took. */
  readonly wallMs: number
}

export function resultOf(scenario: Scenario, record: RunRecord, wallMs: number): SimulationResult {
  const { recorder } = record
  const { workload, slo, profile, seed } = scenario
  const done = indicesOf(recorder, FATE.done)
  const { arrivedAt, firstTokenAt, endedAt, cachedTokens, preemptions } = recorder
  const column = (of: (at: number) => number): Float64Array => Float64Array.from(done, of)
  const from = least(arrivedAt)
  const durationMs = done.length === 0 ? 0 : most(endedAt) - from
  const seconds = durationMs / 1000
  const lengthAt = (at: number): number => workload.requests[at]?.prompt.length ?? 0
  const answerAt = (at: number): number => workload.requests[at]?.outputTokens ?? 0
  const ttft = (at: number): number => (firstTokenAt[at] ?? 0) - (arrivedAt[at] ?? 0)
  const tpot = (at: number): number =>
    answerAt(at) < 2 ? 0 : ((endedAt[at] ?? 0) - (firstTokenAt[at] ?? 0)) / (answerAt(at) - 1)
  const good = done.filter(at => ttft(at) <= slo.ttftMs && tpot(at) <= slo.tpotMs).length
  const promptTokens = total(done, lengthAt)
  const outputTokens = total(done, answerAt)
  const pods = podResults(record, done, lengthAt, answerAt, durationMs)
  const ttfts = column(ttft).sort()
  return {
    profile: profile.name,
    seed,
    requests: recorder.size,
    completed: done.length,
    rejected: {
      overloaded: indicesOf(recorder, FATE.overloaded).length,
      noPod: indicesOf(recorder, FATE.noPod).length,
      tooLong: indicesOf(recorder, FATE.tooLong).length,
    },
    durationMs,
    slo,
    goodput: { requestsPerSecond: good / seconds, fraction: good / recorder.size },
    ttftMs: distributionOf(ttfts),
    tpotMs: distributionOf(
      Float64Array.from(
        done.filter(at => answerAt(at) > 1),
        tpot,
      ),
    ),
    e2eMs: distributionOf(column(at => (endedAt[at] ?? 0) - (arrivedAt[at] ?? 0))),
    hitRate: total(done, at => cachedTokens[at] ?? 0) / promptTokens,
    promptTokens,
    outputTokens,
    outputTokensPerSecond: outputTokens / seconds,
    preemptions: total(done, at => preemptions[at] ?? 0),
    imbalance: {
      inflight: mostOverMean(pods.map(pod => pod.meanInflight)),
      prefill: mostOverMean(pods.map(pod => pod.promptTokens - pod.cachedTokens)),
    },
    handOffs: handOffsOf(recorder, done),
    pods,
    series: seriesOf(recorder, done, lengthAt, pods.length, from, durationMs),
    ttftQuantilesMs: Array.from({ length: 101 }, (_, percent) => quantileOf(ttfts, percent / 100)),
    wallMs,
  }
}

function handOffsOf({ movedTokens, handOffMs }: Recorder, done: readonly number[]) {
  const moved = done.filter(at => (movedTokens[at] ?? 0) > 0)
  return {
    requests: moved.length,
    tokens: total(moved, at => movedTokens[at] ?? 0),
    ms: distributionOf(Float64Array.from(moved, at => handOffMs[at] ?? 0)),
  }
}

function podResults(
  { recorder, pods, stats }: RunRecord,
  done: readonly number[],
  lengthAt: (at: number) => number,
  answerAt: (at: number) => number,
  durationMs: number,
): PodResult[] {
  const { arrivedAt, endedAt, cachedTokens, pod: podAt, prefillPod } = recorder
  return pods.map(({ id }, pod) => {
    const own = done.filter(at => podAt[at] === pod)
    const prompts = done.filter(at => prefillPod[at] === pod)
    return {
      id,
      requests: own.length,
      promptTokens: total(prompts, lengthAt),
      cachedTokens: total(prompts, at => cachedTokens[at] ?? 0),
      outputTokens: total(own, answerAt),
      meanInflight: total(own, at => (endedAt[at] ?? 0) - (arrivedAt[at] ?? 0)) / durationMs,
      busy: (stats[pod]?.busyMs ?? 0) / durationMs,
      preemptions: stats[pod]?.preemptions ?? 0,
      evictedBlocks: stats[pod]?.evictedBlocks ?? 0,
    }
  })
}

function indicesOf({ fate, size }: Recorder, wanted: number): number[] {
  const found: number[] = []
  for (let at = 0; at < size; at++) if (fate[at] === wanted) found.push(at)
  return found
}

const total = (indices: readonly number[], of: (at: number) => number): number =>
  indices.reduce((sum, at) => sum + of(at), 0)

const least = (values: Float64Array): number =>
  values.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY)
const most = (values: Float64Array): number => values.reduce((a, b) => Math.max(a, b), 0)

function mostOverMean(values: readonly number[]): number {
  const sum = values.reduce((a, b) => a + b, 0)
  return (Math.max(...values) * values.length) / sum
}
