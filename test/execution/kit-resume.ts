/** Pods that know one answer, say it from where they are told to go on, and break off at a given byte. */
import type { ExecutionContext } from 'ava'
import { fieldIn } from '#phyllo/execution/hand-off/fault.js'
import {
  answerWith,
  chunked,
  lastChunk,
  type Pod,
  type PodRequest,
  startPod,
  streamHead,
} from './kit-pods.js'

/** What the pods say, a piece an event: with all that JSON and UTF-8 make hard to cut. */
export const PIECES = ['Once', ' upon "a', '\n\n', ' tïme\\', ' 🌿', ' end.'] as const
export const ANSWER = PIECES.join('')
const PROMPT = 'Tell me'
/** As the pods count the client's prompt. */
export const PROMPT_TOKENS = 7

export type Kind = 'chat' | 'completions'

export interface Asked {
  readonly kind: Kind
  /** More fields of the request. */
  readonly fields?: Readonly<Record<string, unknown>>
}

export const askFor = ({ kind, fields }: Asked): string =>
  JSON.stringify({
    model: 'm',
    stream: true,
    ...(kind === 'chat'
      ? { messages: [{ role: 'user', content: PROMPT }] }
      : { prompt: PROMPT, max_tokens: 100 }),
    ...fields,
  })

/** What a pod was told to go on with; undefined for a request that no engine would understand so. */
function saidIn(request: unknown): string | undefined {
  const prompt = fieldIn(request, 'prompt')
  if (typeof prompt === 'string') return prompt.startsWith(PROMPT) ? prompt.slice(PROMPT.length) : undefined
  const messages = fieldIn(request, 'messages')
  if (!Array.isArray(messages)) return undefined
  const isContinued = fieldIn(request, 'continue_final_message') === true
  if (isContinued === (fieldIn(request, 'add_generation_prompt') !== false)) return undefined
  if (!isContinued) return messages.length === 1 ? '' : undefined
  const last: unknown = messages[1]
  const content = fieldIn(last, 'content')
  return messages.length === 2 && fieldIn(last, 'role') === 'assistant' && typeof content === 'string'
    ? content
    : undefined
}

/** The pieces that are still to be said; undefined where the text so far is not theirs. */
function leftOf(said: string): readonly string[] | undefined {
  for (let at = 0, text = ''; at <= PIECES.length; text += PIECES[at++] ?? '') {
    if (text === said) return PIECES.slice(at)
  }
  return undefined
}

/** The events of a pod's answer, as vLLM sends them. Each pod has ids and a time of its own. */
export function eventsOf(request: unknown, pod: number): string[] | undefined {
  const said = saidIn(request)
  const pieces = said === undefined ? undefined : leftOf(said)
  if (said === undefined || pieces === undefined) return undefined
  const isChat = fieldIn(request, 'messages') !== undefined
  const options = fieldIn(request, 'stream_options')
  const before = PIECES.length - pieces.length
  const limit = fieldIn(request, 'max_tokens') ?? fieldIn(request, 'max_completion_tokens')
  const most = typeof limit === 'number' ? limit : pieces.length
  const spoken = pieces.slice(0, most)
  const usage = (tokens: number) => ({
    prompt_tokens: PROMPT_TOKENS + before,
    total_tokens: PROMPT_TOKENS + before + tokens,
    completion_tokens: tokens,
    prompt_tokens_details: { cached_tokens: PROMPT_TOKENS + before },
  })
  const head = {
    id: `id-${pod}`,
    object: isChat ? 'chat.completion.chunk' : 'text_completion',
    created: pod,
    model: 'm',
  }
  const each = (tokens: number) =>
    fieldIn(options, 'continuous_usage_stats') === true ? { usage: usage(tokens) } : {}
  const choice = (delta: object, text: string, finish_reason: string | null) =>
    isChat
      ? { index: 0, delta, logprobs: null, finish_reason }
      : { index: 0, text, logprobs: null, finish_reason }
  const events: object[] = isChat
    ? [{ ...head, choices: [choice({ role: 'assistant', content: '' }, '', null)], ...each(0) }]
    : []
  for (const [i, content] of spoken.entries()) {
    const end = i < spoken.length - 1 ? null : spoken.length < pieces.length ? 'length' : 'stop'
    events.push({
      ...head,
      choices: [choice({ content }, content, end)],
      ...each(i + 1),
    })
  }
  // Nothing is left to say, which a model says with its end token.
  if (spoken.length === 0) events.push({ ...head, choices: [choice({}, '', 'stop')], ...each(0) })
  if (fieldIn(options, 'include_usage') === true)
    events.push({ ...head, choices: [], usage: usage(spoken.length) })
  return [...events.map(event => `data: ${JSON.stringify(event)}\n\n`), 'data: [DONE]\n\n']
}

/** Byte of the answer, which is as long, at which a pod breaks off; undefined: it does not. */
export type BreakAt = (length: number, request: unknown) => number | undefined

/** In place of an event: the pod breaks off there. */
export const BREAK = 'break'

/** How an answer is cut into pieces of TCP. */
export type Cut = (bytes: Buffer) => Buffer[]

const inOne: Cut = bytes => [bytes]

/** A pod that answers streams; `more`: changes its events. */
export function talkingPod(
  t: ExecutionContext,
  pod: number,
  breakAt: BreakAt,
  {
    cut = inOne,
    more = (events: string[]) => events,
  }: { cut?: Cut; more?: (events: string[]) => string[] } = {},
): Promise<Pod> {
  return startPod(t, request => void answer(request, pod, breakAt, cut, more))
}

async function answer(
  { body, socket }: PodRequest,
  pod: number,
  breakAt: BreakAt,
  cut: Cut,
  more: (events: string[]) => string[],
): Promise<void> {
  const request: unknown = JSON.parse(body.toString())
  const events = eventsOf(request, pod)
  if (events === undefined) {
    socket.write(answerWith(400, '{"error":{"message":"can not be gone on with","code":400}}'))
    return
  }
  const all = more(events)
  const end = all.indexOf(BREAK)
  const bytes = Buffer.from(all.slice(0, end < 0 ? all.length : end).join(''))
  const at = end < 0 ? breakAt(bytes.length, request) : bytes.length
  socket.write(streamHead)
  for (const piece of cut(bytes.subarray(0, at ?? bytes.length))) {
    if (piece.length > 0) socket.write(chunked(piece))
    await new Promise(setImmediate)
  }
  if (at === undefined) socket.write(lastChunk)
  else socket.end()
}

/** What a client makes of a stream. */
export interface Heard {
  readonly text: string
  readonly dones: number
  readonly errors: readonly unknown[]
  readonly events: readonly unknown[]
}

/** Reads a stream strictly: throws for anything that is no whole event. */
export function hear(stream: string): Heard {
  const events: unknown[] = []
  const errors: unknown[] = []
  let dones = 0
  let text = ''
  const blocks = stream.replace(/^\n+/, '').split(/\n\n+/)
  if (blocks.pop() !== '') throw new Error(`the stream ends within an event: ${stream.slice(-80)}`)
  for (const block of blocks) {
    if (block === 'data: [DONE]') {
      dones++
      continue
    }
    if (dones > 0) throw new Error(`an event comes behind [DONE]: ${block}`)
    const [, isError, json = ''] = /^(event: error\n)?data: (.*)$/.exec(block) ?? []
    const event: unknown = JSON.parse(json)
    if (isError !== undefined) errors.push(event)
    else {
      events.push(event)
      const choices = fieldIn(event, 'choices')
      const [choice] = Array.isArray(choices) ? choices : []
      text += String(fieldIn(fieldIn(choice, 'delta'), 'content') ?? fieldIn(choice, 'text') ?? '')
    }
  }
  return { text, dones, errors, events }
}
