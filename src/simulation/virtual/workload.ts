/** What is asked of a fleet: requests with prompts, and when each of them may come. */
import type { BodyKind } from '../../data/native.js'

/** A prompt as the router gets it and as the engine sees it. Made when it is needed: prompts of a trace are gigabytes. */
export interface Prompt {
  /** Tokens. */
  readonly length: number
  readonly kind: Extract<BodyKind, 'chat' | 'completions'>
  /** The request's body. `session` becomes its `user`. */
  body(model: string, outputTokens: number, session: string | null): Buffer
  /** Tokens of the prompt, and behind them those of its answer. */
  tokens(): Uint32Array
  /** Tokens of the answer. */
  answerTokens(): Uint32Array
}

export interface VirtualRequest {
  /** Not before that time, ms from the start. */
  readonly atMs: number
  /** Position of the request whose answer this one follows, always before this one; null: none. */
  readonly after: number | null
  /** Time between that answer's end and this request, ms. */
  readonly thinkMs: number
  /** What the client calls its session or conversation; null where it names none. */
  readonly session: string | null
  readonly prompt: Prompt
  /** Length of the answer, at least 1. */
  readonly outputTokens: number
}

export interface Workload {
  /** For people: the file, or what it was made from. */
  readonly name: string
  readonly requests: readonly VirtualRequest[]
  /** Directory of the model that prompts of text are tokenized with; null: all prompts are token ids. */
  readonly modelDir: string | null
}

/**
 * The same requests `factor` times as fast: recorded times are divided by it. Think times are people's, and stay.
 * Throws a RangeError unless the factor is above 0.
 */
export function rescaled(workload: Workload, factor: number): Workload {
  if (!(factor > 0 && factor < Number.POSITIVE_INFINITY))
    throw new RangeError(`no rate can be scaled by ${factor}`)
  const requests = workload.requests.map(request => ({ ...request, atMs: request.atMs / factor }))
  return { ...workload, requests }
}

/**
 * Requests per second as recorded: all requests over the time from the first to the last recorded arrival. Where
 * follow-up turns have no time of their own, that is the rate of a fleet that answers at once. NaN for fewer than two.
 */
export function recordedRate({ requests }: Workload): number {
  const last = requests.reduce((most, { atMs }) => Math.max(most, atMs), 0)
  const first = requests.reduce((least, { atMs }) => Math.min(least, atMs), Number.POSITIVE_INFINITY)
  return requests.length < 2 || last <= first ? Number.NaN : ((requests.length - 1) * 1000) / (last - first)
}
