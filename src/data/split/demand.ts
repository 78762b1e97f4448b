/**
 * How much prefill and decode a model's requests ask for, in pods: 1 is the work of one pod that is busy all the time,
 * or full. From that, how its pods should be divided.
 *
 *     prefill = (tokens arrived / time + tokens pending / window) · time a token
 *     decode  = Σ share in use · (1 + waiting / running), over the pods that decode
 *     prefill pods = pods · prefill / (prefill + decode)
 *
 * Prefill is Dynamo's planner's formula (docs/design-docs/planner-design.md: load / throughput of an engine), with the
 * throughput measured instead of profiled: the slope of the latency model, milliseconds per token ahead, which is what a
 * prefill that fills the GPU costs. What has queued up counts as if it were to be worked off within a window. Decode is
 * what its load planner looks at, KV use, since that is what a decode pod runs out of; its queue counts at what the
 * running requests take. Dynamo adds and removes pods to keep each step within a limit; here the pods are given, and the
 * last line gives both steps the same utilisation, prefill / x = decode / (pods - x), which makes the higher one least.
 */

/** A look at a pod that takes prefill or decode steps. */
export interface PodLook {
  readonly takesPrefill: boolean
  readonly takesDecode: boolean
  /** Uncached prompt tokens that were sent to it to be computed since the last look. */
  readonly arrivedTokens: number
  /** Of those, and of the ones before, tokens whose answer has not begun. */
  readonly pendingTokens: number
  /** Tokens that the requests on it hold in its KV cache. */
  readonly activeTokens: number
  /** Requests on it, of this router. */
  readonly inflight: number
  /** Most requests on it; 0 = no limit. */
  readonly maxInflight: number
  /** Milliseconds that a prompt token takes; -1: not known. */
  readonly msPerToken: number
  /** What its own metrics say; undefined where they are not read, or too old. */
  readonly engine: { readonly kvUse: number; readonly running: number; readonly waiting: number } | undefined
}

/** What pods have to do at a look. */
export interface Load {
  /** Prompt tokens to compute in a millisecond. */
  readonly tokensPerMs: number
  /** In pods; undefined: nobody knows. */
  readonly decode: number | undefined
}

/** `elapsedMs`: since the last look. `windowMs`: within which a queue should be worked off. */
export function loadOf(pods: readonly PodLook[], elapsedMs: number, windowMs: number): Load {
  let tokensPerMs = 0
  for (const { takesPrefill, arrivedTokens, pendingTokens } of pods)
    if (takesPrefill) tokensPerMs += arrivedTokens / Math.max(elapsedMs, 1) + pendingTokens / windowMs
  return { tokensPerMs, decode: decodeDemand(pods) }
}

/** In pods; undefined: nobody knows. */
export interface Demand {
  readonly prefill: number | undefined
  readonly decode: number | undefined
}

/**
 * Of the mean load. What a token takes is not averaged with it: while that is not known, looks that happen to see no
 * tokens would say that there is nothing to prefill.
 */
export function demandOf({ tokensPerMs, decode }: Load, msPerToken: number | undefined): Demand {
  if (tokensPerMs === 0) return { prefill: 0, decode }
  return { prefill: msPerToken === undefined ? undefined : tokensPerMs * msPerToken, decode }
}

/** Of the median of all pods, those that decode at present among them: the split is for whoever prefills after it. */
export function msPerTokenOf(pods: readonly PodLook[]): number | undefined {
  const known = pods.map(pod => pod.msPerToken).filter(ms => ms > 0)
  return known.sort((a, b) => a - b)[(known.length - 1) >> 1]
}

/** Pods of which nothing is known are taken to be as full as the others. */
function decodeDemand(pods: readonly PodLook[]): number | undefined {
  const decoding = pods.filter(pod => pod.takesDecode)
  const known = decoding.flatMap(pod => useOf(pod) ?? [])
  return known.length === 0 ? undefined : (sum(known) / known.length) * decoding.length
}

/** The share of a pod that its decoding takes: of its KV blocks, or of the requests that it is allowed. */
function useOf(pod: PodLook): number | undefined {
  const { engine, inflight, maxInflight, takesPrefill, activeTokens, pendingTokens } = pod
  const ofRequests = maxInflight > 0 ? inflight / maxInflight : undefined
  if (engine === undefined) return ofRequests
  // On a pod that does both, the prompts that are being computed hold blocks too, and its queue is one for prefill.
  const computed = Math.min(pendingTokens / Math.max(activeTokens, 1), 1)
  const decoding = takesPrefill ? engine.kvUse * (1 - computed) : engine.kvUse * (1 + queued(engine))
  return Math.max(decoding, ofRequests ?? 0)
}

const queued = ({ waiting, running }: { waiting: number; running: number }): number =>
  waiting / Math.max(running, 1)

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)

/** How a model's pods should be divided. */
export interface Split {
  /** Prefill pods, with fractions. */
  readonly ideal: number
  /** Whole pods; one of each at least. */
  readonly prefill: number
  readonly decode: number
}

/**
 * Below this mean utilisation there is nothing to divide by: single requests would say how the whole fleet should be. A
 * hundredth of a pod is a prompt of 3,000 tokens every 30 s, where it prefills 10,000 tokens/s.
 */
const IDLE = 0.01

/** The split by the demand, in pods; else why there is none. */
export function splitFor({ prefill, decode }: Demand, pods: number): Split | string {
  if (pods < 2) return 'there are not two pods to divide'
  if (prefill === undefined) return 'no pod has told its prefill rate yet'
  if (decode === undefined) return 'no decode pod tells how full it is'
  if (prefill + decode < IDLE * pods) return 'the pods are idle'
  const ideal = (pods * prefill) / (prefill + decode)
  const low = Math.min(Math.max(Math.floor(ideal), 1), pods - 1)
  const high = Math.min(low + 1, pods - 1)
  const highest = (x: number): number => Math.max(prefill / x, decode / (pods - x))
  // Of two that are as good, the one with more decode pods: a decode pod that is full preempts, a prefill pod queues.
  const whole = highest(high) < highest(low) ? high : low
  return { ideal, prefill: whole, decode: pods - whole }
}
