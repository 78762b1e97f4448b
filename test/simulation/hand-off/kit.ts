/** What the tests of hand-offs share: a prefill and a decode engine in this process, and their legs as raw HTTP. */
import type { ExecutionContext } from 'ava'
import type { RunningEngine } from '#phyllo/simulation/engine/http.js'
import type { EngineOptionsInput } from '#phyllo/simulation/engine/options.js'
import { at, engineFor, post } from '../kit.js'

export interface Pair {
  readonly prefill: RunningEngine
  readonly decode: RunningEngine
}

type Connector = NonNullable<EngineOptionsInput['kvConnector']>

/** Different seeds: what is equal between them is equal because the request is greedy. */
export async function pairFor(
  t: ExecutionContext,
  kvConnector: Connector,
  both: EngineOptionsInput = {},
  each: { readonly prefill?: EngineOptionsInput; readonly decode?: EngineOptionsInput } = {},
): Promise<Pair> {
  const shared = { kvConnector, kvPort: 0, ...both }
  const prefill = await engineFor(t, { ...shared, role: 'prefill', seed: 1, ...each.prefill })
  const decode = await engineFor(t, { ...shared, role: 'decode', seed: 2, ...each.decode })
  return { prefill, decode }
}

export const CHAT = '/v1/chat/completions'

/** 23 blocks or so of a prompt that no other call has. */
let prompts = 0
export const messages = (): object[] => [
  {
    role: 'user',
    content: `Prompt ${prompts++}: ${'the quick brown fox jumps over the lazy dog. '.repeat(32)}`,
  },
]

/** A greedy chat of eight tokens. */
export const body = (fields: object = {}): Record<string, unknown> => ({
  model: 'tiny',
  messages: messages(),
  max_tokens: 8,
  temperature: 0,
  ...fields,
})

export interface Answer {
  readonly status: number
  readonly json: unknown
  readonly message: string
}

/** A leg, with what its error says. */
export async function leg(
  engine: RunningEngine,
  request: object,
  headers: Record<string, string> = {},
  path = CHAT,
): Promise<Answer> {
  const answer = await post(engine, path, request, headers)
  const json: unknown = await answer.json()
  return { status: answer.status, json, message: String(at(json, 'error', 'message') ?? at(json, 'message')) }
}

export const textOf = (json: unknown): unknown => at(json, 'choices', 0, 'message', 'content')

/** Nothing of a hand-off is left on an engine: no blocks in use, nothing waiting, nothing live. */
export function isClean(engine: RunningEngine): boolean {
  const { usedBlocks, waiting, running, holding } = engine.stats()
  return usedBlocks + waiting + running + holding + engine.handOffs().live === 0
}
