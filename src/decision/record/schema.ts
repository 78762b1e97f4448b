/**
 * A line of the decision log, version 1. Whoever reads it may rely on what is here: fields are added, but none of them
 * changes its meaning or goes without another `v`. docs/explain.md says the same in prose.
 *
 * What is said of pods stands in columns: position i of each belongs to `pods.id[i]`. A column in which all pods have
 * its usual value is left out.
 */
import { z } from 'zod'
import { type LoadName, STANDING_NAMES } from '../pod-state.js'

export const RECORD_VERSION = 1

/** What a load column holds where it was left out: a pod that is ready and warm has nothing to do. */
export const USUAL_LOAD: Readonly<Record<LoadName, number>> = {
  inflight: 0,
  pendingTokens: 0,
  firstByteMs: 0,
  breaker: 0,
  ready: 1,
  requests: 0,
  waiting: 0,
  kvUse: 0,
  warmth: 1,
  activeTokens: 0,
}

const numbers = z.array(z.number())
const column = numbers.optional()
const hash = z.int().min(0).max(0xffffffff)

/** Columns that a later writer adds are passed over, as all fields that are not known here. */
const load = z.object({
  inflight: column,
  pendingTokens: column,
  firstByteMs: column,
  breaker: column,
  ready: column,
  requests: column,
  waiting: column,
  kvUse: column,
  warmth: column,
  activeTokens: column,
} satisfies Record<LoadName, typeof column>)

const pods = z
  .object({
    id: z.array(z.string()).min(1),
    /** Its place in the router's arrays; candidates are in its order. */
    slot: z.array(z.int().min(0).max(1023)),
    labels: z.array(z.record(z.string(), z.string())).optional(),
    /** 0: no limit. */
    maxInflight: numbers.optional(),
    load,
    /** Cached tokens of the prompt; null: nobody looked. */
    cached: numbers.nullable(),
    /** How that is known (null: nobody looked), and how old that is, in ms. */
    cache: z
      .object({
        source: z.array(z.enum(['exact', 'stale', 'predicted']).nullable()),
        ageMs: z.array(z.number().nullable()),
        blocks: numbers,
        predictedBlocks: numbers,
        blockSize: numbers,
        capacity: numbers,
      })
      .optional(),
    /** What is known of times to the first byte, in ms (see LatencyTerms); `base` null: nothing yet. */
    latency: z
      .object({
        base: z.array(z.number().nullable()),
        per1000Tokens: numbers,
        per10Requests: numbers,
        perKvUse: numbers,
      })
      .optional(),
    /** When the pod had its last request that nothing was cached for, in turns; left out: none had one. */
    coldTurn: numbers.optional(),
    /**
     * Adapters that had requests on the pod, and how many of them since the one asked for (-1: it had none there); how
     * the pod stands to that one by its engine's word, left out where no engine says; all left out: none had.
     */
    adapter: z
      .object({ since: numbers, count: numbers, standing: z.array(z.enum(STANDING_NAMES)).optional() })
      .optional(),
  })
  .refine(
    ({ id, slot, labels, maxInflight, load, cached, cache, latency, coldTurn, adapter }) =>
      [
        slot,
        labels,
        maxInflight,
        cached,
        coldTurn,
        ...[load, cache, latency, adapter].flatMap(columns => Object.values(columns ?? {})),
      ].every(column => column === undefined || column === null || column.length === id.length),
    { error: 'its columns are not of the same length as pods.id' },
  )
  .refine(({ slot }) => slot.every((value, i) => i === 0 || value > (slot[i - 1] ?? 0)), {
    error: 'pods.slot does not rise',
  })

export const decisionRecord = z.object({
  v: z.literal(RECORD_VERSION),
  /** When it was decided, ISO 8601. */
  time: z.iso.datetime(),
  id: z.string(),
  model: z.string(),
  profile: z.string(),
  /** `chat`, `completions`, … */
  endpoint: z.enum(['chat', 'completions', 'embeddings', 'responses', 'messages', 'other']),
  stream: z.boolean(),
  prompt: z.object({
    tokens: z.number(),
    exact: z.boolean(),
    blocks: z.number(),
    blockSize: z.number(),
    shape: z.string(),
  }),
  /** Keys as 32-bit hashes (hashText in decision/hash.ts). `own`: the profile made it, with its options. */
  keys: z.object({
    session: z.object({ hash, own: z.boolean(), pod: z.string().nullable().optional() }).nullable(),
    affinity: z.object({ hash, own: z.boolean() }),
  }),
  /** The request goes on with a conversation; left out: nobody looked. */
  followUp: z.boolean().optional(),
  pods,
  /**
   * Workflows that the request went by, and why, in the order in which they were chosen; left out where its profile's has
   * no choice to make.
   */
  ways: z.array(z.object({ workflow: z.string(), why: z.string() })).optional(),
  decision: z.object({
    filters: z.array(
      z.object({
        plugin: z.string(),
        dropped: z.array(z.string()),
        reasons: z.record(z.string(), z.string()),
      }),
    ),
    scores: z.array(
      z.object({ plugin: z.string(), weight: z.number(), raw: z.record(z.string(), z.number()) }),
    ),
    totals: z.record(z.string(), z.number()),
    bound: z.number(),
    /** The pod picked and its fall-backs. */
    ranking: z.array(z.string()),
    outcome: z.enum(['picked', 'no_pod', 'overloaded']),
    /** Random numbers (32 bits) and turns that it used. */
    draws: z.object({ rolls: numbers, turns: numbers }),
  }),
  /** Of the stages, in µs. */
  micros: z.record(z.string(), z.number()),
  outcome: z.object({
    /** The pod that answered or failed last; null: none was booked. */
    pod: z.string().nullable(),
    status: z.int(),
    outcome: z.enum(['ok', 'failed', 'cancelled']),
    error: z.string().nullable(),
    attempts: z.int(),
    /** From the request to the first body byte; null: none came. */
    ttftMs: z.number().nullable(),
    durationMs: z.number(),
    bytes: z.number(),
    /** The engine's own counts; null: it did not tell. */
    promptTokens: z.number().nullable(),
    cachedTokens: z.number().nullable(),
  }),
  /** Selections of a workflow of several steps, in their order, with their first pick; `decision` is the first of them. */
  steps: z
    .array(
      z.object({
        step: z.string(),
        profile: z.string(),
        pick: z.string().nullable(),
        outcome: z.enum(['picked', 'no_pod', 'overloaded']),
      }),
    )
    .optional(),
  /** The beginning of the request's body, only where the log is told to hold it. */
  body: z.string().optional(),
})

export type DecisionRecord = z.output<typeof decisionRecord>
export type RecordedPods = DecisionRecord['pods']
export type RecordedOutcome = DecisionRecord['outcome']
