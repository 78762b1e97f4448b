/** What a stream that broke off has said: read once, at the break, from what was kept of it. */
import { fieldIn, parsedText } from '../hand-off/fault.js'
import { dataOf, eventsIn } from '../server-sent-events.js'

/** Tokens as the engine counts them in each event (`continuous_usage_stats`), of which the last tells. */
export interface TokensSoFar {
  readonly prompt: number
  readonly completion: number
}

export interface StreamSoFar {
  readonly text: string
  /** JSON of the first event's fields that all events of an answer share: `id`, `created`, `model`, … */
  readonly shared: Readonly<Record<string, string>>
  /** The role has been named, which a chat's first event does. */
  readonly hasRole: boolean
  /** The engine's own counts; undefined where events bring none. */
  readonly tokens: TokensSoFar | undefined
  /** The choice has ended: `finish_reason` is there. */
  readonly finished: boolean
  /** The usage at the end has been sent. */
  readonly hasUsage: boolean
  /** `[DONE]` has been sent. */
  readonly done: boolean
}

const SHARED = ['id', 'created', 'model', 'system_fingerprint', 'service_tier'] as const

/** Templates cut what stands in these out of an earlier answer, so that it would be gone on with without. */
const THINKING = /<\/?think/

/** Reads the events; a text says why the answer can't be gone on with. */
export function readSoFar(stream: Buffer): StreamSoFar | string {
  let text = ''
  let shared: StreamSoFar['shared'] | undefined
  let hasRole = false
  let tokens: TokensSoFar | undefined
  let finished = false
  let hasUsage = false
  for (const each of eventsIn(stream)) {
    const data = dataOf(each)
    if (data === undefined) continue
    const json = data.toString()
    if (json === '[DONE]')
      return { text, shared: shared ?? {}, hasRole, tokens, finished, hasUsage, done: true }
    const event = parsedText(json)
    const choices = fieldIn(event, 'choices')
    if (!Array.isArray(choices)) return 'its stream is none of chat or text completions'
    shared ??= sharedIn(event)
    const counted = tokensIn(event)
    tokens = counted ?? tokens
    const [choice, ...others] = choices
    if (choice === undefined) hasUsage ||= counted !== undefined
    else {
      if (others.length > 0 || (fieldIn(choice, 'index') ?? 0) !== 0) return 'it has several answers'
      const delta = fieldIn(choice, 'delta')
      const why = notText(choice, delta)
      if (why !== undefined) return why
      const said = fieldIn(delta, 'content') ?? fieldIn(choice, 'text')
      if (typeof said === 'string') text += said
      else if (!isNothing(said)) return 'its content is no text'
      // What was counted before does not have this text's tokens.
      if (counted === undefined && !isNothing(said)) tokens = undefined
      hasRole ||= fieldIn(delta, 'role') !== undefined
      finished ||= !isNothing(fieldIn(choice, 'finish_reason'))
    }
  }
  if (THINKING.test(text)) return 'its text has thinking in it, which templates cut out'
  return { text, shared: shared ?? {}, hasRole, tokens, finished, hasUsage, done: false }
}

function sharedIn(event: unknown): StreamSoFar['shared'] {
  const shared: Record<string, string> = {}
  for (const name of SHARED) {
    const value = fieldIn(event, name)
    if (value !== undefined) shared[name] = JSON.stringify(value)
  }
  return shared
}

function tokensIn(event: unknown): TokensSoFar | undefined {
  const usage = fieldIn(event, 'usage')
  if (isNothing(usage)) return undefined
  const prompt = fieldIn(usage, 'prompt_tokens')
  const completion = fieldIn(usage, 'completion_tokens')
  return typeof prompt === 'number' && typeof completion === 'number' ? { prompt, completion } : undefined
}

/** What cannot be said again in words, or only in words that a template would put elsewhere. */
const NOT_TEXT: ReadonlyMap<string, string> = new Map([
  ['tool_calls', 'a tool call has begun, and how it is written is up to the template'],
  ['function_call', 'a function call has begun, and how it is written is up to the template'],
  ['reasoning', 'reasoning has begun, which templates cut out of an earlier answer'],
  ['reasoning_content', 'reasoning has begun, which templates cut out of an earlier answer'],
  ['refusal', 'a refusal has begun, which is no content'],
  ['audio', 'audio has begun'],
])

/** Why a choice of chat or completions is not text alone; undefined: it is. */
function notText(choice: unknown, delta: unknown): string | undefined {
  if (!isNothing(fieldIn(choice, 'logprobs'))) return 'it has logprobs'
  if (typeof delta !== 'object' || delta === null) return undefined
  for (const [name, value] of Object.entries(delta)) {
    const why = NOT_TEXT.get(name)
    if (why !== undefined && !isNothing(value)) return why
  }
  return undefined
}

const isNothing = (value: unknown): boolean =>
  value === undefined || value === null || value === '' || (Array.isArray(value) && value.length === 0)
