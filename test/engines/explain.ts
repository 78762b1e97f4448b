/** What a running router says about a request that is not sent, and about its pods' caches. */
import { z } from 'zod'
import type { Router } from './router.js'

const mode = z.enum(['predicted', 'stale', 'exact'])

/** What the cases look at of `POST /explain`. */
const explanation = z.object({
  prepare: z.object({ prompt: z.object({ tokens: z.number(), exact: z.boolean() }) }),
  selections: z
    .array(
      z.object({
        cache: z
          .object({
            tokens: z.record(z.string(), z.number()),
            hints: z.record(z.string(), z.object({ mode })),
          })
          .nullable(),
        ranking: z.array(z.string()),
      }),
    )
    .min(1),
})

export interface Explanation {
  readonly promptTokens: number
  /** The model's own tokens, not an estimate. */
  readonly exact: boolean
  /** The pod that it would go to. */
  readonly pod: string
  /** Prompt tokens that each pod is thought to have in its cache. */
  readonly cachedTokens: Readonly<Record<string, number>>
  /** How that is known. */
  readonly modes: Readonly<Record<string, z.infer<typeof mode>>>
}

/** The decision about a request that is not sent. */
export async function explain(router: Router, path: string, body: object): Promise<Explanation> {
  const url = `${router.adminUrl}/explain?path=${encodeURIComponent(path)}`
  const headers = { 'content-type': 'application/json' }
  const text = await read(url, { method: 'POST', headers, body: JSON.stringify(body) })
  const { prepare, selections } = explanation.parse(JSON.parse(text))
  const [selection] = selections
  const hints = Object.entries(selection?.cache?.hints ?? {})
  return {
    promptTokens: prepare.prompt.tokens,
    exact: prepare.prompt.exact,
    pod: selection?.ranking[0] ?? '',
    cachedTokens: selection?.cache?.tokens ?? {},
    modes: Object.fromEntries(hints.map(([pod, hint]) => [pod, hint.mode])),
  }
}

/** What the cases look at of `GET /pods/ID/cache`. */
const podCache = z.object({
  id: z.string(),
  mode,
  blocks: z.number(),
  predictedBlocks: z.number(),
  blockSize: z.number().nullable(),
  capacity: z.number().nullable(),
  sequence: z.number().nullable(),
  lagMs: z.number().nullable(),
  batches: z.number(),
  events: z.number(),
  gaps: z.number(),
  lostBatches: z.number(),
  replays: z.number(),
  replayedBatches: z.number(),
  orphans: z.number(),
  malformed: z.number(),
  restarts: z.number(),
})

export type PodCache = z.infer<typeof podCache>

export const cacheOf = async (router: Router, pod: string): Promise<PodCache> =>
  podCache.parse(JSON.parse(await read(`${router.adminUrl}/pods/${encodeURIComponent(pod)}/cache`)))

const podHealth = z.object({ healthy: z.boolean().nullable() })

/** Whether the router takes it for healthy. */
export async function isHealthy(router: Router, pod: string): Promise<boolean> {
  const text = await read(`${router.adminUrl}/pods/${encodeURIComponent(pod)}`)
  return podHealth.parse(JSON.parse(text)).healthy === true
}

/** Values of one of the router's metrics, by the text of their labels. */
export async function routerMetric(router: Router, name: string): Promise<Record<string, number>> {
  const page = await read(`${router.adminUrl}/metrics`)
  const lines = page.split('\n').filter(line => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
  return Object.fromEntries(
    lines.map(line => {
      const space = line.lastIndexOf(' ')
      return [line.slice(name.length, space), Number(line.slice(space + 1))]
    }),
  )
}

async function read(url: string, init: RequestInit = {}): Promise<string> {
  const answer = await fetch(url, init)
  const text = await answer.text()
  if (!answer.ok) throw new Error(`${url} answers ${answer.status}: ${text}`)
  return text
}
