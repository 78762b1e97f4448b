/**
 * `phyllo demo --exact`: what the router gains by the engines' own KV events where the caches are too small. The same
 * conversations go through the same profile to the same engines: once the router predicts from what it has sent, once
 * it follows the events; then the same with two routers that share the work.
 *
 * A lone router that knows how many blocks an engine has (it does here) predicts well: it has sent all that evicts what
 * it remembers. What another router has sent, it cannot know, neither what that left in the caches nor what it drove
 * out; the events tell both.
 */
import { request } from 'undici'
import { z } from 'zod'
import type { Conversation } from './conversations.js'
import type { DemoFleet, DemoPod, DemoRouter } from './demo-router.js'
import { demoConversations, demoModelDir, type RunOptions, runOnce, toStdout } from './demo-run.js'
import { a10gLlama8b } from './engine/parameters.js'
import { type Belief, type ExactSummary, renderExactTable, summariseExact } from './exact-report.js'
import { type Fleet, startFleet } from './fleet.js'
import { percent } from './report.js'
import { measureWorkload, type Workload } from './workload.js'

export interface ExactDemoOptions {
  /** How many times faster than the modelled hardware. */
  readonly speed?: number
  /** Conversations at a time. */
  readonly concurrency?: number
  /** KV blocks of an engine. */
  readonly blocks?: number
  /** Most conversations; for a shorter demo. */
  readonly conversations?: number
  readonly seed?: number
  readonly write?: (text: string) => void
}

const ENGINES = 4
const MODEL = 'demo'
const PROFILE = 'cache-aware'
const BLOCKS = 700
const CONCURRENCY = 6
const SPEED = 8
/** A router by itself, and two that share the work without knowing of each other. */
const CASES = [1, 2].flatMap(routers => (['predicted', 'exact'] as const).map(mode => ({ routers, mode })))
const NOTE =
  'Expected is what the router thought to be cached when it decided. Even what is known exactly may be gone when the\n' +
  'request has waited for its turn in the engine.\n'
/** Any free port of this machine; the engines tell which. */
const ANY_PORT = 'tcp://127.0.0.1:*'
/** A fresh router reads the engines' history in milliseconds. */
const EXACT_WITHIN_MS = 10_000

/** Runs the demo; resolves with the table's numbers, predicted first. Rejects if a request failed. */
export async function runExactDemo(options: ExactDemoOptions = {}): Promise<ExactSummary[]> {
  const { write = toStdout, speed = SPEED, blocks = BLOCKS } = options
  const modelDir = demoModelDir()
  const conversations = demoConversations(options.conversations)
  const events = { kvEvents: ANY_PORT, kvEventsReplay: ANY_PORT }
  const fleet = await startFleet(ENGINES, { model: MODEL, modelDir, speed, blocks, ...events })
  try {
    const workload = await measureWorkload(fleet.urls[0] ?? '', MODEL, conversations, a10gLlama8b.blockSize)
    write(introduction(workload, blocks, speed))
    const summaries: ExactSummary[] = []
    for (const one of CASES) summaries.push(await runCase(one, fleet, conversations, modelDir, options))
    write(`\n${renderExactTable(summaries, podsOf(fleet, false))}\n${NOTE}`)
    return summaries
  } finally {
    await fleet.close()
  }
}

async function runCase(
  { routers, mode }: (typeof CASES)[number],
  fleet: Fleet,
  conversations: readonly Conversation[],
  modelDir: string,
  options: ExactDemoOptions,
): Promise<ExactSummary> {
  const { blocks = BLOCKS, concurrency = CONCURRENCY, seed = 1, speed = SPEED, write } = options
  const pods = podsOf(fleet, mode === 'exact')
  const { blockSize } = a10gLlama8b
  const router = { pods, model: MODEL, modelDir, blockSize, profile: PROFILE, port: 0, workers: 1 }
  const before = await evictedBlocks(fleet)
  let belief: Belief = { expected: 0, actual: 0 }
  const run: RunOptions = {
    concurrency,
    thinking: true,
    routers,
    seed,
    write,
    onStart: mode === 'exact' ? untilExact : async () => undefined,
    onEnd: async ({ adminUrl }) => {
      const { expected, actual } = await beliefOf(adminUrl)
      belief = { expected: belief.expected + expected, actual: belief.actual + actual }
    },
  }
  const title = `${routers} router${routers > 1 ? 's' : ''}, ${mode}`
  const results = await runOnce(title, fleet, { ...router, predictedBlocks: blocks }, conversations, run)
  const evicted = (await evictedBlocks(fleet)) - before
  return summariseExact({ routers, mode, results, belief, evicted }, pods, speed)
}

function podsOf(fleet: Fleet, isExact: boolean): DemoFleet['pods'] {
  return fleet.engines.map(({ url, kvEvents }, at): DemoPod => {
    const [address] = kvEvents
    const id = `pod-${at + 1}`
    if (!isExact || address === undefined || address.replay === null) return { id, url }
    return { id, url, kvEvents: { endpoint: address.endpoint, replay: address.replay } }
  })
}

const podList = z.object({ pods: z.array(z.object({ id: z.string() })) })
const podCache = z.looseObject({ mode: z.string() })

async function untilExact({ adminUrl }: DemoRouter): Promise<void> {
  const deadline = Date.now() + EXACT_WITHIN_MS
  const { pods } = podList.parse(await getJson(`${adminUrl}/pods`))
  for (const { id } of pods) {
    while (podCache.parse(await getJson(`${adminUrl}/pods/${id}/cache`)).mode !== 'exact') {
      if (Date.now() > deadline) throw new Error(`the router does not follow the KV events of ${id}`)
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  }
}

/** What the router expected of the caches it sent requests to, and what was there, by its own metrics. */
async function beliefOf(adminUrl: string): Promise<Belief> {
  const answer = await request(`${adminUrl}/metrics`)
  const text = await answer.body.text()
  const total = (name: string): number =>
    [...text.matchAll(new RegExp(`^${name}\\{[^}]*\\} (\\S+)$`, 'gm'))].reduce(
      (sum, [, value]) => sum + Number(value),
      0,
    )
  return {
    expected: total('phyllo_cached_tokens_predicted_total'),
    actual: total('phyllo_cached_tokens_actual_total'),
  }
}

const engineStats = z.object({ evictedBlocks: z.number() })

async function evictedBlocks(fleet: Fleet): Promise<number> {
  const all = await Promise.all(fleet.urls.map(url => getJson(`${url}/sim/stats`)))
  return all.reduce<number>((sum, stats) => sum + engineStats.parse(stats).evictedBlocks, 0)
}

async function getJson(url: string): Promise<unknown> {
  const answer = await request(url)
  const body: unknown = await answer.body.json()
  return body
}

function introduction(workload: Workload, blocks: number, speed: number): string {
  const { conversations, requests, promptTokens, uniqueBlocks, idealHitRate } = workload
  const { blockSize } = a10gLlama8b
  const number = (value: number): string => value.toLocaleString('en')
  const ratio = (uniqueBlocks / (ENGINES * blocks)).toFixed(1)
  return (
    `${conversations} recorded agent conversations, ${requests} requests, ${number(promptTokens)} prompt tokens.\n` +
    `Their prompts are ${number(uniqueBlocks)} different blocks of ${blockSize} tokens, ${ratio} times what ` +
    `${ENGINES} engines with ${number(blocks)} blocks each can hold.\n` +
    `One cache without limit would hit ${percent(idealHitRate)}.\n` +
    `Profile ${PROFILE}; modelled NVIDIA A10Gs at ${speed}× speed; times below are scaled back to the model's.\n\n`
  )
}
