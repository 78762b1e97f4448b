/**
 * Counters that the request path writes: one row of numbers per worker in shared memory, one writer each. Counting is
 * a plain addition; only a scrape of `/metrics` sums the rows up. Nothing on the request path touches a label, a map
 * or a metrics library.
 */
import { type ErrorCode, errorCatalogue } from '../errors.js'

export const ENDPOINTS = ['chat', 'completions', 'embeddings', 'responses', 'messages', 'other'] as const
export type Endpoint = (typeof ENDPOINTS)[number]

export const ERROR_CODES = Object.keys(errorCatalogue).sort()
const errorIndex = new Map(ERROR_CODES.map((code, i) => [code, i]))

/**
 * Bucket bounds in seconds, 1 ms to 5 min in steps of about 2.5: a router's own refusals take under a millisecond, a
 * cold 100k-token prefill takes tens of seconds, and a long generation minutes.
 */
export const SECONDS_BUCKETS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
] as const
/** Bounds in seconds for the router's own work: 5 µs to 100 ms. */
export const DECISION_BUCKETS = [
  0.000005, 0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1,
] as const

const STATUSES = 600
/** Outcomes of a request on a pod, in the order of OUTCOME in the native contract. */
export const POD_OUTCOMES = ['ok', 'failed', 'cancelled'] as const
/** How the engine's count of a prompt compared with the router's, in the order of USAGE in the native contract. */
export const PROMPT_CHECKS = ['agrees', 'differs', 'distrusted', 'estimated'] as const
/** How a pod's cache is known, in the order of CACHE_MODE in the native contract. */
export const CACHE_SOURCES = ['predicted', 'stale', 'exact'] as const
/** What became of answers that were to be learned, in the order of LEARNED in the execution layer. */
export const LEARNED_ANSWERS = ['whole', 'beginning', 'nothing', 'failed'] as const

/** What became of streams that broke off, where their workflow resumes. */
export const RESUMES = ['resumed', 'whole', 'unfit', 'failed', 'cancelled'] as const
export type Resume = (typeof RESUMES)[number]

/** Ways that a request of several steps can take. */
export const WAYS = ['split', 'direct', 'fallback'] as const
export type Way = (typeof WAYS)[number]
/** What can become of a hedge. */
export const HEDGE_FATES = ['sent', 'won', 'lost', 'failed', 'refused', 'no_pod'] as const
export type HedgeFate = (typeof HEDGE_FATES)[number]
/** What can be thought of a cascade's first answer. */
export const JUDGEMENTS = [
  'sufficed',
  'finish_reason',
  'refusal',
  'tool_call',
  'too_short',
  'unsure',
  'match',
  'unreadable',
  'failed',
  'no_pod',
] as const
export type Judgement = (typeof JUDGEMENTS)[number]
/** Steps that have figures of their own: those of the workflows that ship. Others are counted as the last. */
export const STEP_NAMES = ['prefill', 'decode', 'encode', 'first', 'serve', 'other'] as const
/**
 * Models that have figures of their own, by the number that they were entered under; the last counts all beyond. Fleets
 * of more than that serve adapters, mostly.
 */
export const MODEL_ROWS = 64
const stepIndex = new Map<string, number>(STEP_NAMES.map((name, i) => [name, i]))
/** The row of a model by its number; -1: of none. */
const rowOf = (model: number): number => (model < 0 ? MODEL_ROWS - 1 : Math.min(model, MODEL_ROWS - 1))
const stepOf = (name: string): number => stepIndex.get(name) ?? STEP_NAMES.length - 1

export interface HistogramLayout {
  readonly offset: number
  readonly bounds: readonly number[]
}

/** Offsets of everything in a worker's row. */
export interface Layout {
  readonly statuses: number
  readonly errors: number
  readonly retries: number
  readonly resumes: number
  readonly pluginFailures: number
  readonly aborts: number
  readonly bytesOut: number
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly promptChecks: number
  readonly cachedPredicted: number
  readonly cachedActual: number
  readonly learnedAnswers: number
  readonly pods: number
  readonly prefillTokens: number
  readonly ways: number
  readonly hedges: number
  readonly judgements: number
  readonly stepFailures: number
  readonly steps: readonly HistogramLayout[]
  readonly duration: HistogramLayout
  readonly firstByte: HistogramLayout
  readonly decision: HistogramLayout
  readonly size: number
}

function makeLayout(width: number): Layout {
  let at = 0
  const take = (count: number) => {
    const offset = at
    at += count
    return offset
  }
  // A histogram is a count per bucket, one for +Inf, and the sum.
  const histogram = (bounds: readonly number[]) => ({ offset: take(bounds.length + 2), bounds })
  return {
    statuses: take(ENDPOINTS.length * STATUSES),
    errors: take(ERROR_CODES.length),
    retries: take(1),
    resumes: take(RESUMES.length),
    pluginFailures: take(1),
    aborts: take(1),
    bytesOut: take(1),
    promptTokens: take(1),
    cachedTokens: take(1),
    promptChecks: take(PROMPT_CHECKS.length),
    cachedPredicted: take(CACHE_SOURCES.length),
    cachedActual: take(CACHE_SOURCES.length),
    learnedAnswers: take(LEARNED_ANSWERS.length),
    pods: take(width * POD_OUTCOMES.length),
    prefillTokens: take(width),
    ways: take(MODEL_ROWS * WAYS.length),
    hedges: take(MODEL_ROWS * HEDGE_FATES.length),
    judgements: take(MODEL_ROWS * JUDGEMENTS.length),
    stepFailures: take(STEP_NAMES.length * ERROR_CODES.length),
    steps: STEP_NAMES.map(() => histogram(SECONDS_BUCKETS)),
    duration: histogram(SECONDS_BUCKETS),
    firstByte: histogram(SECONDS_BUCKETS),
    decision: histogram(DECISION_BUCKETS),
    size: at,
  }
}

/** What a worker needs to find its row. */
export interface CountersHandle {
  readonly memory: SharedArrayBuffer
  readonly width: number
  readonly rows: number
}

export function createCounters(width: number, rows: number): CountersHandle {
  const bytes = makeLayout(width).size * rows * Float64Array.BYTES_PER_ELEMENT
  return { memory: new SharedArrayBuffer(bytes), width, rows }
}

/** One worker's row. */
export class Counters {
  readonly layout: Layout
  readonly #row: Float64Array

  constructor(handle: CountersHandle, row: number) {
    this.layout = makeLayout(handle.width)
    const { size } = this.layout
    this.#row = new Float64Array(handle.memory, row * size * Float64Array.BYTES_PER_ELEMENT, size)
  }

  #add(index: number, by: number): void {
    this.#row[index] = (this.#row[index] ?? 0) + by
  }

  /** An answer went out (or broke off) with that status. */
  answered(endpoint: number, status: number): void {
    this.#add(this.layout.statuses + endpoint * STATUSES + Math.min(Math.max(status, 0), STATUSES - 1), 1)
  }
  error(code: ErrorCode): void {
    this.#add(this.layout.errors + (errorIndex.get(code) ?? 0), 1)
  }
  /** A stream broke off, and that became of it. */
  resumed(result: Resume): void {
    this.#add(this.layout.resumes + RESUMES.indexOf(result), 1)
  }

  retried(): void {
    this.#add(this.layout.retries, 1)
  }
  /** A plugin threw on a request, which was decided without it. */
  pluginFailed(): void {
    this.#add(this.layout.pluginFailures, 1)
  }
  aborted(): void {
    this.#add(this.layout.aborts, 1)
  }
  relayed(bytes: number): void {
    this.#add(this.layout.bytesOut, bytes)
  }
  prompt(tokens: number, cached: number): void {
    this.#add(this.layout.promptTokens, tokens)
    this.#add(this.layout.cachedTokens, cached)
  }
  /** An engine told how many tokens a prompt has; `result` is an index of PROMPT_CHECKS. */
  promptChecked(result: number): void {
    this.#add(this.layout.promptChecks + result, 1)
  }
  /** It told how many of them it found in its cache; `source` is an index of CACHE_SOURCES. */
  cacheChecked(source: number, predicted: number, actual: number): void {
    this.#add(this.layout.cachedPredicted + source, predicted)
    this.#add(this.layout.cachedActual + source, actual)
  }
  /** An answer was to be learned; `result` is an index of LEARNED_ANSWERS. */
  answerLearned(result: number): void {
    this.#add(this.layout.learnedAnswers + result, 1)
  }
  pod(slot: number, outcome: number): void {
    this.#add(this.layout.pods + slot * POD_OUTCOMES.length + outcome, 1)
  }
  /** A slot has a new pod, which must not start with the figures of the one before. */
  podJoined(slot: number): void {
    const first = this.layout.pods + slot * POD_OUTCOMES.length
    this.#row.fill(0, first, first + POD_OUTCOMES.length)
    this.#row[this.layout.prefillTokens + slot] = 0
  }
  /** A pod was sent so many uncached prompt tokens to compute. */
  prefill(slot: number, tokens: number): void {
    this.#add(this.layout.prefillTokens + slot, tokens)
  }
  /** A request of a model (by its number; -1: of none) took a way of its workflow. */
  way(model: number, way: Way): void {
    this.#add(this.layout.ways + rowOf(model) * WAYS.length + WAYS.indexOf(way), 1)
  }
  /** That became of a hedge of a model's request, or of the lack of one. */
  hedge(model: number, fate: HedgeFate): void {
    this.#add(this.layout.hedges + rowOf(model) * HEDGE_FATES.length + HEDGE_FATES.indexOf(fate), 1)
  }
  /** A cascade's first answer was judged, for a request of that model. */
  judged(model: number, judgement: Judgement): void {
    this.#add(this.layout.judgements + rowOf(model) * JUDGEMENTS.length + JUDGEMENTS.indexOf(judgement), 1)
  }
  stepDone(step: string, seconds: number): void {
    const layout = this.layout.steps[stepOf(step)]
    if (layout !== undefined) this.#observe(layout, seconds)
  }
  stepFailed(step: string, cause: ErrorCode): void {
    this.#add(this.layout.stepFailures + stepOf(step) * ERROR_CODES.length + (errorIndex.get(cause) ?? 0), 1)
  }
  duration(seconds: number): void {
    this.#observe(this.layout.duration, seconds)
  }
  firstByte(seconds: number): void {
    this.#observe(this.layout.firstByte, seconds)
  }
  decision(seconds: number): void {
    this.#observe(this.layout.decision, seconds)
  }

  #observe({ offset, bounds }: HistogramLayout, seconds: number): void {
    let bucket = 0
    while (bucket < bounds.length && seconds > (bounds[bucket] ?? 0)) bucket++
    this.#add(offset + bucket, 1)
    this.#add(offset + bounds.length + 1, seconds)
  }
}

/** All rows summed up: what a scrape reads. */
export class CounterSums {
  readonly layout: Layout
  readonly #rows: Float64Array
  readonly #handle: CountersHandle

  constructor(handle: CountersHandle) {
    this.layout = makeLayout(handle.width)
    this.#rows = new Float64Array(handle.memory)
    this.#handle = handle
  }

  at(index: number): number {
    let sum = 0
    for (let row = 0; row < this.#handle.rows; row++) sum += this.#rows[row * this.layout.size + index] ?? 0
    return sum
  }

  status(endpoint: number, status: number): number {
    return this.at(this.layout.statuses + endpoint * STATUSES + status)
  }

  /** Uncached prompt tokens that the pods of a slot were sent, since the present one joined. */
  prefillTokens(slot: number): number {
    return this.at(this.layout.prefillTokens + slot)
  }
  resumes(result: Resume): number {
    return this.at(this.layout.resumes + RESUMES.indexOf(result))
  }

  way(row: number, way: Way): number {
    return this.at(this.layout.ways + row * WAYS.length + WAYS.indexOf(way))
  }
  hedges(row: number, fate: HedgeFate): number {
    return this.at(this.layout.hedges + row * HEDGE_FATES.length + HEDGE_FATES.indexOf(fate))
  }
  judgements(row: number, judgement: Judgement): number {
    return this.at(this.layout.judgements + row * JUDGEMENTS.length + JUDGEMENTS.indexOf(judgement))
  }
  stepFailures(step: (typeof STEP_NAMES)[number], cause: string): number {
    return this.at(this.layout.stepFailures + stepOf(step) * ERROR_CODES.length + ERROR_CODES.indexOf(cause))
  }
  /** Times of a step, by its place in STEP_NAMES. */
  stepTimes(step: number): { buckets: number[]; count: number; sum: number } {
    const layout = this.layout.steps[step]
    return layout === undefined ? { buckets: [], count: 0, sum: 0 } : this.histogram(layout)
  }

  /** Every status that was ever answered on an endpoint. */
  *statuses(endpoint: number): Generator<[status: number, count: number]> {
    for (let status = 0; status < STATUSES; status++) {
      const count = this.status(endpoint, status)
      if (count > 0) yield [status, count]
    }
  }

  /** Cumulative counts by bound, the total count and the sum: Prometheus' own form. */
  histogram({ offset, bounds }: HistogramLayout): { buckets: number[]; count: number; sum: number } {
    let count = 0
    const buckets = bounds.map((_, i) => {
      count += this.at(offset + i)
      return count
    })
    count += this.at(offset + bounds.length)
    return { buckets, count, sum: this.at(offset + bounds.length + 1) }
  }
}
