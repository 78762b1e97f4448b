/**
 * Conversations with real text, one JSON object a line: `messages` in OpenAI's form and perhaps `id`, `tools` and
 * `timestamp` (ms, of the first turn). Each assistant message is a turn's answer, and what stands before it the turn's
 * prompt; recorded answers are what engines say, so that the next prompt goes on from what is cached.
 *
 * Conversations without a timestamp begin at random (Poisson), and each turn follows the answer before it and a think
 * time drawn from an exponential distribution. Where more conversations are wanted than the file has, they are taken
 * again, each copy told apart by a number before its first user message: what all copies share is the system prompt.
 */
import { z } from 'zod'
import { loadNative, type Tokenizer } from '../../data/native.js'
import { type Conversation, turnsOf } from '../conversations.js'
import { type Random, seededRandom } from '../engine/random.js'
import type { VirtualRequest, Workload } from '../virtual/workload.js'
import { ChatPrompt } from './chat-prompt.js'
import { exponential } from './draws.js'
import { linesOf, TraceError } from './lines.js'

const message = z.looseObject({
  role: z.string(),
  content: z
    .string()
    .nullish()
    .transform(text => text ?? null),
})
const line = z.object({
  id: z.string().optional(),
  messages: z.array(message).min(2),
  tools: z.array(z.unknown()).optional(),
  timestamp: z.number().min(0).optional(),
})
type Line = z.output<typeof line>

export interface MessagesOptions {
  /** Directory of the tokenizer and its chat template. */
  readonly modelDir: string
  /** How many; absent: those of the file. */
  readonly conversations?: number | undefined
  /** Requests per second, where no times are recorded: conversations begin at this rate over the turns of one. */
  readonly rate: number
  /** Mean time between an answer and the next turn, ms. */
  readonly thinkMs: number
  readonly seed: number
  /** Most requests. */
  readonly limit: number
}

export function messagesWorkload(name: string, content: Buffer, options: MessagesOptions): Workload {
  const lines = parseLines(name, content)
  if (lines.length === 0) throw new TraceError(`${name}: holds no conversation`)
  const tokenizer = loadNative().Tokenizer.load(options.modelDir)
  const random = seededRandom(options.seed)
  const wanted = options.conversations ?? lines.length
  const turnsEach =
    lines.reduce((sum, { messages }) => sum + messages.filter(isAnswer).length, 0) / lines.length
  const meanGapMs = (1000 * turnsEach) / options.rate
  // Times may be those since 1970; a run begins with its first conversation.
  const firstMs = lines.reduce(
    (least, { timestamp = least }) => Math.min(least, timestamp),
    Number.POSITIVE_INFINITY,
  )
  const requests: VirtualRequest[] = []
  let startMs = 0
  for (let number = 0; number < wanted && requests.length < options.limit; number++) {
    const found = lines[number % lines.length]
    if (found === undefined) break
    const copy = Math.floor(number / lines.length)
    if (found.timestamp === undefined || copy > 0) startMs += exponential(random, meanGapMs)
    else startMs = found.timestamp - firstMs
    const session = `${found.id ?? `conversation-${number % lines.length}`}${copy === 0 ? '' : `#${copy}`}`
    addTurns(requests, copyOf(found, copy), session, startMs, options, tokenizer, random)
  }
  return { name, requests: requests.slice(0, options.limit), modelDir: options.modelDir }
}

/** Whether the file says when conversations began; judged by its first one. */
export const areTimed = (name: string, content: Buffer): boolean =>
  parseLines(name, content, 1)[0]?.timestamp !== undefined

function parseLines(name: string, content: Buffer, most = Number.POSITIVE_INFINITY): Line[] {
  const lines: Line[] = []
  for (const { number, text } of linesOf(content)) {
    if (lines.length === most) break
    lines.push(parseLine(`${name}:${number}`, text))
  }
  return lines
}

function parseLine(place: string, text: string): Line {
  let data: unknown
  try {
    data = JSON.parse(text)
  } catch {
    throw new TraceError(`${place}: no JSON; each line is an object with messages`)
  }
  const parsed = line.safeParse(data)
  if (!parsed.success) throw new TraceError(`${place}: ${z.prettifyError(parsed.error)}`)
  if (!parsed.data.messages.slice(1).some(isAnswer)) {
    throw new TraceError(`${place}: no assistant message behind the first: there is no answer to simulate`)
  }
  return parsed.data
}

function addTurns(
  requests: VirtualRequest[],
  { messages, tools }: Line,
  session: string,
  startMs: number,
  { thinkMs }: MessagesOptions,
  tokenizer: Tokenizer,
  random: Random,
): void {
  const conversation: Conversation = { id: session, messages }
  const ends = messages.flatMap((each, at) => (isAnswer(each) && at > 0 ? [at] : []))
  const prompts = ChatPrompt.ofTurns(
    turnsOf(conversation).map((turn, at) => ({
      messages: turn.messages,
      answer: answerText(messages[ends[at] ?? -1]),
      tools,
    })),
    tokenizer,
  )
  prompts.forEach((prompt, turn) => {
    requests.push({
      atMs: turn === 0 ? startMs : 0,
      after: turn === 0 ? null : requests.length - 1,
      thinkMs: turn === 0 ? 0 : exponential(random, thinkMs),
      session,
      prompt,
      outputTokens: prompt.outputTokens,
    })
  })
}

/** What was generated: the text, and the calls as the JSON that they are. */
function answerText(answer: Line['messages'][number] | undefined): string {
  const calls = answer?.['tool_calls'] ?? []
  const isCalling = Array.isArray(calls) && calls.length > 0
  return `${answer?.content ?? ''}${isCalling ? JSON.stringify(calls) : ''}`
}

function copyOf(found: Line, copy: number): Line {
  if (copy === 0) return found
  const first = found.messages.findIndex(({ role }) => role === 'user')
  const messages = found.messages.map((each, at) =>
    at === first ? { ...each, content: `(${copy}) ${each.content ?? ''}` } : each,
  )
  return { ...found, messages }
}

const isAnswer = ({ role }: { readonly role: string }): boolean => role === 'assistant'
