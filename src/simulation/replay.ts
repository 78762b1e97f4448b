/**
 * Replays conversations through a base URL: the turns of one in sequence, several conversations at a time, in a
 * seeded order. Each turn's history holds the recorded answers, so that every run sends the same bytes.
 */
import { Pool } from 'undici'
import { z } from 'zod'
import { type Conversation, type Turn, turnsOf } from './conversations.js'
import { seededRandom, shuffled } from './engine/random.js'

export interface ReplayOptions {
  /** `http://host:port` */
  readonly baseUrl: string
  readonly model: string
  readonly conversations: readonly Conversation[]
  /** Conversations at a time. */
  readonly concurrency: number
  readonly seed: number
  /** Most tokens of an answer; recorded answers that are longer are cut. */
  readonly longestAnswer: number
  /** Called after each turn. */
  readonly onTurn?: (result: TurnResult) => void
}

/** What one turn measured. Times are wall-clock milliseconds. */
export interface TurnResult {
  readonly conversation: string
  /** From 0. */
  readonly turn: number
  /** `x-phyllo-pod` of the answer; empty without a router. */
  readonly pod: string
  /** To the first event with content. */
  readonly ttftMs: number
  readonly totalMs: number
  readonly promptTokens: number
  readonly cachedTokens: number
  readonly completionTokens: number
  /** Why it failed; null if it did not. */
  readonly error: string | null
}

/** Characters to a token, near enough to ask for answers of the recorded length. */
const CHARACTERS_PER_TOKEN = 3.6

/** The request body of a turn. Its answer has the recorded one's length, whatever the engine would rather say. */
export function turnBody(turn: Turn, model: string, longestAnswer: number): string {
  const wanted = Math.ceil(turn.answerLength / CHARACTERS_PER_TOKEN)
  return JSON.stringify({
    model,
    messages: turn.messages,
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: Math.min(Math.max(wanted, 1), longestAnswer),
    ignore_eos: true,
  })
}

/** Runs all conversations to their end; failed turns are told in their results and do not end the rest. */
export async function replay(options: ReplayOptions): Promise<TurnResult[]> {
  const pool = new Pool(options.baseUrl, { connections: options.concurrency, pipelining: 1 })
  const queue = shuffled(options.conversations, seededRandom(options.seed))
  const results: TurnResult[] = []
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      for (const [at, turn] of turnsOf(next).entries()) {
        const result = await runTurn(pool, options, next.id, at, turn)
        results.push(result)
        options.onTurn?.(result)
      }
    }
  }
  try {
    await Promise.all(Array.from({ length: options.concurrency }, worker))
  } finally {
    await pool.close()
  }
  return results
}

async function runTurn(
  pool: Pool,
  options: ReplayOptions,
  conversation: string,
  turn: number,
  what: Turn,
): Promise<TurnResult> {
  const startedAt = performance.now()
  const reader = new StreamReader(startedAt)
  let pod = ''
  let error: string | null = null
  try {
    const answer = await pool.request({
      method: 'POST',
      path: '/v1/chat/completions',
      headers: { 'content-type': 'application/json' },
      body: turnBody(what, options.model, options.longestAnswer),
    })
    const header = answer.headers['x-phyllo-pod']
    pod = typeof header === 'string' ? header : ''
    if (answer.statusCode === 200) {
      for await (const chunk of answer.body.setEncoding('utf8')) reader.take(String(chunk))
      error = reader.usage === null ? 'the stream ended without usage' : null
    } else error = `${answer.statusCode}: ${(await answer.body.text()).slice(0, 200)}`
  } catch (cause) {
    error = cause instanceof Error ? cause.message : String(cause)
  }
  const usage = reader.usage
  return {
    conversation,
    turn,
    pod,
    ttftMs: reader.firstAt - startedAt,
    totalMs: performance.now() - startedAt,
    promptTokens: usage?.prompt_tokens ?? 0,
    cachedTokens: usage?.prompt_tokens_details?.cached_tokens ?? 0,
    completionTokens: usage?.completion_tokens ?? 0,
    error,
  }
}

const usageEvent = z.object({
  usage: z.object({
    prompt_tokens: z.number(),
    completion_tokens: z.number(),
    prompt_tokens_details: z.object({ cached_tokens: z.number().nullish() }).nullish(),
  }),
})
type Usage = z.output<typeof usageEvent>['usage']

/** Reads a stream as far as it matters here: when the first event came, and the usage near its end. */
class StreamReader {
  firstAt: number
  usage: Usage | null = null
  private rest = ''
  private hasBegun = false

  constructor(startedAt: number) {
    this.firstAt = startedAt
  }

  take(text: string): void {
    if (!this.hasBegun) {
      this.hasBegun = true
      this.firstAt = performance.now()
    }
    const lines = (this.rest + text).split('\n')
    this.rest = lines.pop() ?? ''
    for (const line of lines) {
      // Every event but one has no usage; parsing them all would cost the demo more than the router does.
      if (!line.startsWith('data: ') || !line.includes('"usage":{')) continue
      const parsed = usageEvent.safeParse(JSON.parse(line.slice('data: '.length)))
      if (parsed.success) this.usage = parsed.data.usage
    }
  }
}
