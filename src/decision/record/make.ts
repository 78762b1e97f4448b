/** Makes a line of the decision log from a trace. What is left out of it here is in no log: texts, headers, keys. */
import type { RequestHead } from '../context.js'
import { hashText } from '../hash.js'
import { LOAD_NAMES, type PodState } from '../pod-state.js'
import type { RequestKeys } from '../request-keys.js'
import type { SelectionRecord, Trace } from '../trace.js'
import {
  type DecisionRecord,
  RECORD_VERSION,
  type RecordedOutcome,
  type RecordedPods,
  USUAL_LOAD,
} from './schema.js'

export interface RecordedRequest {
  /** Milliseconds since the epoch. */
  readonly time: number
  readonly head: Pick<RequestHead, 'id' | 'kind'>
  readonly stream: boolean
  readonly outcome: RecordedOutcome
  /** Its body, where the log may hold it. */
  readonly body?: string | undefined
}

/** Undefined where nothing was selected, or among nothing: there is no decision then. */
export function makeRecord(trace: Trace, request: RecordedRequest): DecisionRecord | undefined {
  // A retry's selection is one among the pods that are left; what the profile wants shows in the first.
  const [first] = trace.selections
  if (first === undefined || first.pods.length === 0) return undefined
  const { time, head, stream, outcome, body } = request
  return {
    v: RECORD_VERSION,
    time: new Date(time).toISOString(),
    id: head.id,
    model: trace.model,
    profile: first.profile,
    endpoint: head.kind,
    stream,
    prompt: trace.prepare.prompt,
    keys: hashedKeys(trace.keys, first),
    followUp: trace.isFollowUp,
    pods: podColumns(first, trace.match?.cached),
    ...(trace.ways.length === 0 ? {} : { ways: [...trace.ways] }),
    decision: {
      filters: first.filters.map(({ plugin, dropped, reasons }) => ({ plugin, dropped, reasons })),
      scores: first.scores.map(({ plugin, weight, raw }) => ({ plugin, weight, raw })),
      totals: first.totals,
      bound: first.bound,
      ranking: first.ranking,
      outcome: first.outcome,
      draws: trace.drawn,
    },
    micros: { ...trace.timings },
    outcome,
    ...stepsOf(trace),
    ...(body === undefined ? {} : { body }),
  }
}

/** Of workflows of several steps: whom each selection picked. */
function stepsOf({ selections }: Trace): Pick<DecisionRecord, 'steps'> {
  const steps = selections.flatMap(({ step, profile, ranking: [pick = null], outcome }) =>
    step === undefined ? [] : [{ step, profile, pick, outcome }],
  )
  return steps.length === 0 ? {} : { steps }
}

function hashedKeys(keys: RequestKeys | undefined, { sessionPod }: SelectionRecord): DecisionRecord['keys'] {
  const { session = null, affinity = '', own } = keys ?? {}
  const pod = sessionPod === undefined ? {} : { pod: sessionPod }
  return {
    session: session === null ? null : { hash: hashText(session), own: own?.session === true, ...pod },
    affinity: { hash: hashText(affinity), own: own?.affinity === true },
  }
}

function podColumns({ pods, cache }: SelectionRecord, matched: Uint32Array | undefined): RecordedPods {
  const labels = pods.map(pod => pod.labels)
  const limits = pods.map(pod => pod.maxInflight)
  const columns = LOAD_NAMES.flatMap((name): [string, number[]][] => {
    const column = pods.map(({ load }) => load[name])
    return column.every(value => value === USUAL_LOAD[name]) ? [] : [[name, column]]
  })
  const isKnown = cache !== null || matched !== undefined
  const cached = pods.map(({ id, slot }) => cache?.tokens[id] ?? matched?.[slot] ?? 0)
  return {
    id: pods.map(pod => pod.id),
    slot: pods.map(pod => pod.slot),
    ...(labels.every(of => Object.keys(of).length === 0) ? {} : { labels }),
    ...(limits.every(limit => limit === 0) ? {} : { maxInflight: limits }),
    load: Object.fromEntries(columns),
    cached: isKnown ? cached : null,
    ...(pods.every(pod => pod.cache === null) ? {} : { cache: cacheColumns(pods) }),
    ...(pods.every(pod => pod.latency === null) ? {} : { latency: latencyColumns(pods) }),
    ...(pods.every(pod => pod.coldTurn === 0) ? {} : { coldTurn: pods.map(pod => pod.coldTurn) }),
    ...(pods.every(({ adapter }) => adapter.count === 0 && adapter.standing === 'untold')
      ? {}
      : { adapter: adapterColumns(pods) }),
  }
}

const adapterColumns = (pods: readonly PodState[]): NonNullable<RecordedPods['adapter']> => ({
  since: pods.map(pod => pod.adapter.since),
  count: pods.map(pod => pod.adapter.count),
  ...(pods.every(pod => pod.adapter.standing === 'untold')
    ? {}
    : { standing: pods.map(pod => pod.adapter.standing) }),
})

function latencyColumns(pods: readonly PodState[]): NonNullable<RecordedPods['latency']> {
  const terms = pods.map(pod => pod.latency)
  return {
    base: terms.map(of => of?.base ?? null),
    per1000Tokens: terms.map(of => of?.per1000Tokens ?? 0),
    per10Requests: terms.map(of => of?.per10Requests ?? 0),
    perKvUse: terms.map(of => of?.perKvUse ?? 0),
  }
}

function cacheColumns(pods: readonly PodState[]): NonNullable<RecordedPods['cache']> {
  const caches = pods.map(pod => pod.cache)
  return {
    source: caches.map(cache => cache?.source ?? null),
    ageMs: caches.map(cache => (cache?.ageMs == null ? null : Math.round(cache.ageMs))),
    blocks: caches.map(cache => cache?.blocks ?? 0),
    predictedBlocks: caches.map(cache => cache?.predictedBlocks ?? 0),
    blockSize: caches.map(cache => cache?.blockSize ?? 0),
    capacity: caches.map(cache => cache?.capacity ?? 0),
  }
}
