/** One request, with what the router expected of its pod just before and what the engine says afterwards. */
import type OpenAI from 'openai'
import type { Stream } from 'openai/streaming'
import { type Explanation, explain } from '../explain.js'
import type { Router } from '../router.js'
import type { EngineKind } from './kind.js'
import type { TurnRequest } from './thread.js'

export interface Measured {
  readonly pod: string
  /** How the router knew the pod's cache. */
  readonly mode: string
  /** Prompt tokens in the pod's cache: as the router saw them, and as the engine found them. */
  readonly predicted: number
  readonly cached: number
  /** Prompt tokens: the router's count, whether it is of the model's own tokens, and the engine's. */
  readonly counted: number
  readonly countedExactly: boolean
  readonly prompt: number
  readonly text: string
  /** When the router was asked, and when the answer was there: ms. */
  readonly from: number
  readonly to: number
}

export interface Door {
  readonly router: Router
  readonly client: OpenAI
}

/** Undefined for a prompt of more tokens than the engine takes, which is not sent. */
export async function measure(
  { router, client }: Door,
  request: TurnRequest,
  { maxPrompt, tellsZero }: Pick<EngineKind, 'maxPrompt' | 'tellsZero'>,
): Promise<Measured | undefined> {
  const from = performance.now()
  const expected = await explain(router, request.path, request.body)
  if (expected.promptTokens > maxPrompt) return undefined
  const compared = compare(expected, await send(client, request), tellsZero)
  return { ...compared, from, to: performance.now() }
}

function compare(
  expected: Explanation,
  { pod, usage, text }: Answer,
  tellsZero: boolean,
): Omit<Measured, 'from' | 'to'> {
  const cached = usage?.prompt_tokens_details?.cached_tokens ?? (tellsZero ? undefined : 0)
  if (usage === undefined || cached === undefined) throw new Error('the engine tells no cached tokens')
  return {
    pod,
    mode: expected.modes[pod] ?? 'none',
    predicted: expected.cachedTokens[pod] ?? 0,
    cached,
    counted: expected.promptTokens,
    countedExactly: expected.exact,
    prompt: usage.prompt_tokens,
    text,
  }
}

interface Answer {
  readonly pod: string
  readonly usage: OpenAI.CompletionUsage | undefined
  readonly text: string
}

/** What chats and completions, whole and in pieces, have in common. */
interface Piece {
  readonly choices: readonly {
    readonly text?: string | null
    readonly message?: { readonly content?: string | null }
    readonly delta?: { readonly content?: string | null }
  }[]
  readonly usage?: OpenAI.CompletionUsage | null
}

async function send(client: OpenAI, { path, body }: TurnRequest): Promise<Answer> {
  const route = path.slice('/v1'.length)
  if (body['stream'] !== true) {
    const { data, response } = await client.post<Piece>(route, { body }).withResponse()
    return { pod: podOf(response), usage: data.usage ?? undefined, text: textOf(data) }
  }
  const { data, response } = await client.post<Stream<Piece>>(route, { body, stream: true }).withResponse()
  let usage: OpenAI.CompletionUsage | undefined
  let text = ''
  for await (const piece of data) {
    text += textOf(piece)
    usage = piece.usage ?? usage
  }
  return { pod: podOf(response), usage, text }
}

const podOf = (response: Response): string => response.headers.get('x-phyllo-pod') ?? ''

const textOf = ({ choices: [choice] }: Piece): string =>
  choice?.text ?? choice?.message?.content ?? choice?.delta?.content ?? ''
