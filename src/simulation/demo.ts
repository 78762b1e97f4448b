/**
 * `phyllo demo`: four simulated engines, the real router, recorded conversations; `round-robin` against `cache-aware`.
 *
 * The engines are modelled A10Gs with an 8B model, whose KV cache holds what that card leaves for it: 33,000 tokens.
 * Nothing is tuned to make one profile look bad; the numbers that decide (working set, capacity, the best hit rate
 * there could be) are printed above the table.
 */
import { once } from 'node:events'
import { type DemoFleet, type DemoRouter, startDemoRouter } from './demo-router.js'
import { demoConversations, demoModelDir, runOnce, toStdout } from './demo-run.js'
import { a10gLlama8b } from './engine/parameters.js'
import { startFleet } from './fleet.js'
import { percent, renderTable, type Summary, summarise } from './report.js'
import { measureWorkload, type Workload } from './workload.js'

export interface DemoOptions {
  /** End after the table instead of serving on. */
  readonly once?: boolean
  /** How many times faster than the modelled hardware. */
  readonly speed?: number
  /** Conversations at a time. */
  readonly concurrency?: number
  /** Most conversations; for a shorter demo. */
  readonly conversations?: number
  readonly seed?: number
  /** Public port of the router that serves on after the table; 0 takes a free one. */
  readonly port?: number
  readonly startRouter?: (fleet: DemoFleet) => Promise<DemoRouter>
  readonly write?: (text: string) => void
  /** Ends the serving, as Ctrl-C does. */
  readonly signal?: AbortSignal
}

const ENGINES = 4
const MODEL = 'demo'
const PROFILES = ['round-robin', 'cache-aware'] as const
/** Two conversations an engine: enough for queues to matter, not so many that every prompt waits for others. */
const CONCURRENCY = 8
/** Some three minutes of GPU time in less than one, with steps well above the timers' resolution of a millisecond. */
const SPEED = 6

/** Runs the demo. Resolves with the table's numbers after the table (`once`), or when it is told to end; rejects if a request failed. */
export async function runDemo(options: DemoOptions = {}): Promise<Summary[]> {
  const { write = toStdout, speed = SPEED, concurrency = CONCURRENCY, seed = 1, startRouter } = options
  const modelDir = demoModelDir()
  const conversations = demoConversations(options.conversations)
  const fleet = await startFleet(ENGINES, { model: MODEL, modelDir, speed })
  try {
    const workload = await measureWorkload(fleet.urls[0] ?? '', MODEL, conversations, a10gLlama8b.blockSize)
    write(introduction(workload, speed))
    const pods = fleet.urls.map((url, at) => ({ id: `pod-${at + 1}`, url }))
    const run = { concurrency, seed, startRouter, write: options.write }
    const router = { pods, model: MODEL, modelDir, blockSize: a10gLlama8b.blockSize }
    const names = pods.map(({ id }) => id)
    const summaries: Summary[] = []
    for (const profile of PROFILES) {
      const results = await runOnce(profile, fleet, { ...router, profile, port: 0 }, conversations, run)
      summaries.push(summarise({ profile, results }, names, speed))
    }
    write(`\n${renderTable(summaries, names)}\n`)
    throwIfFailed(summaries)
    if (options.once !== true) {
      await serveOn(options, { ...router, profile: 'cache-aware', port: options.port ?? 0 }, write)
    }
    return summaries
  } finally {
    await fleet.close()
  }
}

/** Nothing in the demo may fail: a table with holes would compare nothing. */
function throwIfFailed(summaries: readonly Summary[]): void {
  const failed = summaries.find(summary => summary.firstError !== null)
  if (failed === undefined) return
  const { profile, firstError, requests } = failed
  throw new Error(`${failed.failed} of ${requests} requests failed with ${profile}, the first: ${firstError}`)
}

function introduction(workload: Workload, speed: number): string {
  const { conversations, requests, promptTokens, uniqueBlocks, idealHitRate } = workload
  const { blocks, blockSize } = a10gLlama8b
  const k = (tokens: number): string => `${Math.round(tokens / 1000).toLocaleString('en')}k`
  return (
    `${conversations} recorded agent conversations, ${requests} requests, ${k(promptTokens)} prompt tokens.\n` +
    `Different blocks of ${blockSize} tokens: ${uniqueBlocks.toLocaleString('en')} (${k(uniqueBlocks * blockSize)} ` +
    `tokens); KV cache: ${ENGINES} engines × ${blocks.toLocaleString('en')} blocks (${k(blocks * blockSize)} tokens).\n` +
    `One cache without limit would hit ${percent(idealHitRate)}.\n` +
    `Engines: modelled NVIDIA A10G with an 8B model at ${speed}× speed; times below are scaled back to the model's.\n\n`
  )
}

async function serveOn(options: DemoOptions, fleet: DemoFleet, write: (text: string) => void): Promise<void> {
  const router = await (options.startRouter ?? startDemoRouter)(fleet)
  const body = '{"model":"demo","messages":[{"role":"user","content":"Hello, leaf"}]}'
  write(
    `\nServing with ${fleet.profile} until Ctrl-C (admin: ${router.adminUrl}). Try:\n\n` +
      `  curl -i ${router.url}/v1/chat/completions -H 'content-type: application/json' -d '${body}'\n\n`,
  )
  const ended = new AbortController()
  const waits = ['SIGINT', 'SIGTERM'].map(name => once(process, name, { signal: ended.signal }))
  if (options.signal !== undefined) waits.push(once(options.signal, 'abort', { signal: ended.signal }))
  await Promise.race(waits.map(wait => wait.catch(() => undefined)))
  ended.abort()
  await router.close()
}
