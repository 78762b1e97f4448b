/** What `POST /explain` answers, as far as the table shows it. */
import { z } from 'zod'

const byPod = z.record(z.string(), z.number())

const pod = z.object({
  id: z.string(),
  load: z.object({
    requests: z.number(),
    pendingTokens: z.number(),
    activeTokens: z.number(),
    waiting: z.number(),
    kvUse: z.number(),
  }),
  cache: z.object({ source: z.string(), ageMs: z.number().nullable() }).nullable(),
})

const selection = z.object({
  step: z.string().optional(),
  profile: z.string(),
  pods: z.array(pod),
  filters: z.array(
    z.object({ plugin: z.string(), dropped: z.array(z.string()), reasons: z.record(z.string(), z.string()) }),
  ),
  scores: z.array(z.object({ plugin: z.string(), weight: z.number(), raw: byPod, weighted: byPod })),
  totals: byPod,
  cache: z.object({ tokens: byPod, hints: z.record(z.string(), z.object({ mode: z.string() })) }).nullable(),
  sessionPod: z.string().nullable().optional(),
  bound: z.number(),
  pick: z.object({ plugin: z.string() }).nullable(),
  ranking: z.array(z.string()),
  outcome: z.string(),
})

export const explanation = z.object({
  profile: z.string(),
  model: z.string(),
  prepare: z.object({
    prompt: z.object({
      tokens: z.number(),
      exact: z.boolean(),
      blocks: z.number(),
      blockSize: z.number(),
      shape: z.string(),
    }),
  }),
  keys: z.object({ session: z.string().nullable(), affinity: z.string() }).nullable(),
  ways: z.array(z.object({ workflow: z.string(), why: z.string() })).default([]),
  selections: z.array(selection),
  timings: z.record(z.string(), z.number()),
})

export type Explanation = z.output<typeof explanation>
export type ExplainedSelection = z.output<typeof selection>
