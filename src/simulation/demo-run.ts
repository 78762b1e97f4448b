/** One run of a demo: all conversations through one fresh router, or several, to engines with empty caches. */
import { fileURLToPath } from 'node:url'
import { type Conversation, loadConversations } from './conversations.js'
import { type DemoFleet, type DemoRouter, startDemoRouter } from './demo-router.js'
import type { Fleet } from './fleet.js'
import { startProgress } from './progress.js'
import { replay, type TurnResult } from './replay.js'

export interface RunOptions {
  /** Conversations at a time. */
  readonly concurrency: number
  /** Whether turns of all conversations are mixed; see replay.ts. */
  readonly thinking?: boolean
  readonly seed: number
  /** Routers that share the work, each by itself; 1 unless told. */
  readonly routers?: number
  /** Before the first request, for each router. */
  readonly onStart?: (router: DemoRouter) => Promise<void>
  /** After the last one, while the router is still there. */
  readonly onEnd?: (router: DemoRouter) => Promise<void>
  readonly startRouter?: ((fleet: DemoFleet) => Promise<DemoRouter>) | undefined
  /** Takes text for people; absent: standard output. */
  readonly write?: ((text: string) => void) | undefined
}

/** Answers of an agent's turn are short; the few long ones would only make the demo longer. */
const LONGEST_ANSWER = 64
const TITLE_WIDTH = 12

const packageFile = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url))

export const demoModelDir = (): string => packageFile('demo/model')

/** The recorded conversations; the first `most` of them, if that is given. */
export const demoConversations = (most?: number): Conversation[] =>
  loadConversations(packageFile('demo/data/conversations.jsonl')).slice(0, most)

/** @param title what the run is called on its progress line */
export async function runOnce(
  title: string,
  fleet: Fleet,
  routerFleet: DemoFleet,
  conversations: readonly Conversation[],
  options: RunOptions,
): Promise<TurnResult[]> {
  await fleet.resetCaches()
  const start = options.startRouter ?? startDemoRouter
  const routers: DemoRouter[] = []
  const total = conversations.reduce((sum, { messages }) => sum + messages.filter(isAnswer).length, 0)
  const isTerminal = options.write === undefined && process.stdout.isTTY
  const write = options.write ?? toStdout
  try {
    while (routers.length < (options.routers ?? 1)) routers.push(await start(routerFleet))
    for (const router of routers) await options.onStart?.(router)
    const progress = startProgress(title.padEnd(TITLE_WIDTH), total, isTerminal, write)
    const results = await replay({
      baseUrl: routers.map(({ url }) => url),
      model: routerFleet.model,
      conversations,
      concurrency: options.concurrency,
      thinking: options.thinking ?? false,
      seed: options.seed,
      longestAnswer: LONGEST_ANSWER,
      onTurn: () => progress.step(),
    }).finally(() => progress.done())
    for (const router of routers) await options.onEnd?.(router)
    return results
  } finally {
    await Promise.all(routers.map(router => router.close()))
  }
}

export const toStdout = (text: string): void => void process.stdout.write(text)

const isAnswer = ({ role }: { readonly role: string }): boolean => role === 'assistant'
