/**
 * Replays conversations through a base URL: the turns of one in sequence, several conversations at a time, in a
 * seeded order. Each turn's history holds the recorded answers, so that every run sends the same bytes.
 *
 * As agents talk, a conversation goes on as soon as it is answered, and another one begins when it is over. As people
 * talk (`thinking`), all are open from the start, and each turn is followed by one of any other, drawn with the seed.
 */
import { Pool } from 'undici'
import { z } from 'zod'
import { type Conversation, type Turn, turnsOf } from './conversations.js'
import { seededRandom, shuffled, textSeed } from './engine/random.js'

export interface ReplayOptions {
  /** `http://host:port`, or several that serve the same: each turn goes to one of them, as a load balancer has it. */
  readonly baseUrl: string | readonly string[]
  readonly model: string
  readonly conversations: readonly Conversation[]
  /** Conversations at a time. */
  readonly concurrency: number
  /** Whether turns of all conversations are mixed. */
  readonly thinking?: boolean
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
  const { baseUrl, concurrency } = options
  const pools = (typeof baseUrl === 'string' ? [baseUrl] : baseUrl).map(
    url => new Pool(url, { connections: concurrency, pipelining: 1 }),
  )
  // Drawn by the turn's name, so that every run sends the same turn the same way.
  const poolOf = (id: string, turn: number): Pool => {
    const pool = pools[textSeed(id, turn) % pools.length]
    if (pool === undefined) throw new RangeError('a replay needs a URL')
    return pool
  }
  const random = seededRandom(options.seed)
  const waiting: Open[] = shuffled(options.conversations, random).map(({ id, ...rest }) => ({
    id,
    turns: turnsOf({ id, ...rest }),
    next: 0,
  }))
  const results: TurnResult[] = []
  const worker = async (): Promise<void> => {
    for (let open = waiting.shift(); open !== undefined; open = waiting.shift()) {
      const turn = open.turns[open.next]
      if (turn === undefined) continue
      const at = open.next++
      const result = await runTurn(poolOf(open.id, at), options, open.id, at, turn)
      results.push(result)
      options.onTurn?.(result)
      waiting.splice(options.thinking === true ? Math.floor(random() * (waiting.length + 1)) : 0, 0, open)
    }
  }
  try {
    await Promise.all(Array.from({ length: concurrency }, worker))
  } finally {
    await Promise.all(pools.map(pool => pool.close()))
  }
  return results
}

/** A conversation under way. */
interface Open {
  readonly id: string
  readonly turns: readonly Turn[]
  next: number
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
