/**
 * What a kept answer says: its text, how it ended, how sure the model was, which tools it called. Of the OpenAI API's
 * chat, completions and responses, whole or as a stream of events.
 */
import { fieldIn, parsedJson } from './hand-off/fault.js'
import { asBuffer } from './json-walk.js'
import { dataOf, eventsIn } from './server-sent-events.js'

/** One choice of an answer. */
export interface ChoiceContent {
  readonly text: string
  /** `stop`, `length`, `tool_calls`, `content_filter`, …; empty where it does not say. */
  readonly finishReason: string
  /** The model's own field for it, not a guess at the text. */
  readonly refused: boolean
  /** Of the tokens' log probabilities, where they were asked for. */
  readonly meanLogprob: number | undefined
  /** Arguments of the tools called, as the model wrote them. */
  readonly toolArguments: readonly string[]
}

/** A choice while its pieces come. */
class Choice {
  text = ''
  finishReason = ''
  refused = false
  #logprobs = 0
  #tokens = 0
  readonly #tools = new Map<number, string>()

  tool(index: number, text: unknown): void {
    this.#tools.set(index, (this.#tools.get(index) ?? '') + textOf(text))
  }

  logprobs(values: unknown): void {
    for (const value of listOf(values)) {
      // The first token of a completion with `echo` has none.
      const logprob = typeof value === 'number' ? value : fieldIn(value, 'logprob')
      if (typeof logprob !== 'number') continue
      this.#logprobs += logprob
      this.#tokens++
    }
  }

  get meanLogprob(): number | undefined {
    return this.#tokens === 0 ? undefined : this.#logprobs / this.#tokens
  }

  get toolArguments(): readonly string[] {
    return [...this.#tools.values()]
  }
}

/**
 * Longest answer that is read. JSON.parse takes some 10 ms for a MiB, which holds up the worker's other requests; a
 * thousand tokens with five alternatives each are half a MiB.
 */
const MOST_BYTES = 4 * 2 ** 20

/** The choices of an answer; undefined for what is none, or longer than is read. Never throws. */
export function contentOf(answer: Uint8Array): readonly ChoiceContent[] | undefined {
  if (answer.length > MOST_BYTES) return undefined
  const whole = parsedJson(answer)
  if (whole !== undefined) return choicesOf([whole])
  const events = valuesIn(answer)
  return events === undefined ? undefined : choicesOf(events)
}

const DONE = Buffer.from('[DONE]')

/** The data of a stream's events; undefined where one is no JSON. */
function valuesIn(stream: Uint8Array): unknown[] | undefined {
  const events: unknown[] = []
  for (const event of eventsIn(asBuffer(stream))) {
    const data = dataOf(event)
    if (data === undefined || data.equals(DONE)) continue
    const value = parsedJson(data)
    if (value === undefined) return undefined
    events.push(value)
  }
  return events
}

function choicesOf(parts: readonly unknown[]): readonly ChoiceContent[] | undefined {
  const choices = new Map<number, Choice>()
  for (const part of parts) {
    // An engine that fails after its first token can only say so in the stream.
    if (!isNothing(fieldIn(part, 'error'))) return undefined
    // The Responses API repeats the whole of it in its last event.
    const response = fieldIn(part, 'object') === 'response' ? part : fieldIn(part, 'response')
    if (!isNothing(response)) {
      if (isFinal(response)) choices.set(0, responseChoice(response))
      continue
    }
    for (const [at, choice] of listOf(fieldIn(part, 'choices')).entries()) {
      const given = fieldIn(choice, 'index')
      const index = typeof given === 'number' ? given : at
      const known = choices.get(index) ?? new Choice()
      choices.set(index, known)
      addTo(known, choice)
    }
  }
  return choices.size === 0 ? undefined : [...choices.values()]
}

/** Takes over a choice of chat or completions, or a piece of it. */
function addTo(known: Choice, choice: unknown): void {
  const message = fieldIn(choice, 'message') ?? fieldIn(choice, 'delta')
  known.text += textOf(fieldIn(message, 'content')) + textOf(fieldIn(choice, 'text'))
  known.finishReason = textOf(fieldIn(choice, 'finish_reason')) || known.finishReason
  if (textOf(fieldIn(message, 'refusal')) !== '') known.refused = true
  for (const [at, call] of listOf(fieldIn(message, 'tool_calls')).entries()) {
    const index = fieldIn(call, 'index')
    known.tool(typeof index === 'number' ? index : at, fieldIn(fieldIn(call, 'function'), 'arguments'))
  }
  const logprobs = fieldIn(choice, 'logprobs')
  known.logprobs(fieldIn(logprobs, 'content') ?? fieldIn(logprobs, 'token_logprobs'))
}

const isFinal = (response: unknown): boolean =>
  ['completed', 'incomplete'].includes(textOf(fieldIn(response, 'status')))

function responseChoice(response: unknown): Choice {
  const choice = new Choice()
  const reason = textOf(fieldIn(fieldIn(response, 'incomplete_details'), 'reason'))
  choice.finishReason = reason === '' ? 'stop' : reason === 'max_output_tokens' ? 'length' : reason
  for (const [at, item] of listOf(fieldIn(response, 'output')).entries()) {
    if (fieldIn(item, 'type') === 'function_call') choice.tool(at, fieldIn(item, 'arguments'))
    for (const part of listOf(fieldIn(item, 'content'))) {
      if (fieldIn(part, 'type') === 'output_text') choice.text += textOf(fieldIn(part, 'text'))
      if (fieldIn(part, 'type') === 'refusal') choice.refused = true
      choice.logprobs(fieldIn(part, 'logprobs'))
    }
  }
  return choice
}

const isNothing = (value: unknown): boolean => value === undefined || value === null
const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])
