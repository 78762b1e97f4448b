/**
 * The request that asks another pod to go on with an answer: the client's own, with the text so far as the beginning of
 * the answer, for as many tokens less as that has.
 *
 * - Chats: the text is a last message of the assistant's, with `continue_final_message: true` and
 *   `add_generation_prompt: false`. vLLM wants both (together with a true one it answers 400); SGLang reads the first
 *   and puts the text's tokens behind the rendered prompt.
 * - Text completions: the text is appended to the prompt.
 */
import type { BodyKind } from '../../data/native.js'
import { editBody, elementsOf, type FieldEdit, fieldsOf, isArray, set } from '../body-edit.js'
import { fieldIn, parsedJson } from '../hand-off/fault.js'

/** Whether a field's value, which is there, is in nobody's way. */
type Check = (value: unknown) => boolean

const isOff: Check = value => value === false
const isZero: Check = value => value === 0
const isEmpty: Check = value => value === '' || (Array.isArray(value) && value.length === 0)
const isOne: Check = value => value === 1
const never: Check = () => false

/** Fields with which an answer can't be gone on with, unless they are absent, null or as harmless as that, and why. */
const HARMLESS: readonly (readonly [field: string, isHarmless: Check, why: string])[] = [
  ['n', isOne, 'several answers'],
  ['best_of', isOne, 'several answers'],
  ['use_beam_search', isOff, 'several answers'],
  ['prompt', value => typeof value === 'string', 'the prompt is no single text'],
  ['prompt_embeds', never, 'the prompt is no single text'],
  ['suffix', isEmpty, 'the text has an end already'],
  ['truncate_prompt_tokens', never, 'the prompt would be cut elsewhere'],
  ['session_params', never, 'the session is held by one pod'],
  ['echo', isOff, 'the prompt, which would have the text in it, is answered too'],
  // Tokens of the answer so far would be missing, or would be the prompt's.
  ['logprobs', isOff, 'logprobs of the prompt and of the answer'],
  ['prompt_logprobs', never, 'logprobs of the prompt and of the answer'],
  ['return_token_ids', isOff, 'token ids of the prompt and of the answer'],
  ['return_hidden_states', isOff, 'hidden states of the prompt and of the answer'],
  // A parser of tool calls begins with the answer, and so does a grammar; what they had read is lost.
  ['tools', isEmpty, 'tools, whose parser begins with the answer'],
  ['functions', isEmpty, 'tools, whose parser begins with the answer'],
  [
    'response_format',
    value => fieldIn(value, 'type') === 'text',
    'structured output, whose grammar begins with the answer',
  ],
  ...[
    'structured_outputs',
    'guided_json',
    'guided_regex',
    'guided_choice',
    'guided_grammar',
    'regex',
    'ebnf',
    'json_schema',
    'structural_tag',
  ].map(name => [name, never, 'structured output, whose grammar begins with the answer'] as const),
  // Of the answer alone: the text so far is the prompt's now.
  ['presence_penalty', isZero, 'a penalty that counts the tokens of the answer'],
  ['frequency_penalty', isZero, 'a penalty that counts the tokens of the answer'],
  ['bad_words', isEmpty, 'bad words, which are looked for in the answer'],
  ['logits_processors', isEmpty, 'logits processors, which see the answer'],
  ['custom_logit_processor', isEmpty, 'logits processors, which see the answer'],
  ['thinking_token_budget', never, 'reasoning, which templates cut out of an earlier answer'],
  ['include_reasoning', value => value === true, 'reasoning that is not shown'],
  ['audio', never, 'audio'],
  [
    'modalities',
    value => Array.isArray(value) && value.every(each => each === 'text'),
    'an answer that is not text alone',
  ],
  ['continue_final_message', isOff, 'it goes on with a message of its own'],
  ['add_generation_prompt', value => value === true, 'the answer does not begin as an answer'],
]

const NAMES = HARMLESS.map(([name]) => name)
/** Fields that say how many tokens the answer may or must have. */
const LIMITS = ['max_tokens', 'max_completion_tokens', 'min_tokens']
const OTHERS = ['seed', 'temperature', 'stream_options', ...LIMITS]

/** A request that goes on with an answer, before its limits are lessened. */
export interface Continuation {
  /** The client's request with the text in it. */
  readonly body: Buffer
  /** The answer's tokens have to be known: the request limits them, or wants them counted. */
  readonly needsTokens: boolean
  /** The answer is to end with usage. */
  readonly wantsUsage: boolean
}

/** The request that goes on with the text; a text says why there is none. */
export function continuationOf(body: Buffer, kind: BodyKind, text: string): Continuation | string {
  const names = [...NAMES, ...OTHERS]
  const values = fieldsOf(body, names).map(value => value && parsedJson(value))
  const of = (name: string): unknown => values[names.indexOf(name)] ?? undefined
  for (const [name, isHarmless, why] of HARMLESS) {
    const value = of(name)
    if (value !== undefined && !isHarmless(value)) return `${name}: ${why}`
  }
  // The same seed would draw again what it drew for the first tokens, and the answer would not be that of the seed.
  if (of('seed') !== undefined && of('temperature') !== 0) return 'seed: the draws so far can not be skipped'
  const hasLimit = LIMITS.some(name => of(name) !== undefined)
  if (kind === 'completions' && of('max_tokens') === undefined)
    return 'max_tokens: without it engines take a limit of their own'
  const wantsUsage = fieldIn(of('stream_options'), 'include_usage') === true
  const rest = { needsTokens: hasLimit || wantsUsage, wantsUsage }
  // Nothing has been said: the request is asked anew, as it is.
  if (text === '') return { body, needsTokens: false, wantsUsage }
  const edits = kind === 'completions' ? ofCompletion(of('prompt'), text) : ofChat(body, text)
  return typeof edits === 'string' ? edits : { body: editBody(body, edits), ...rest }
}

function ofCompletion(prompt: unknown, text: string): readonly FieldEdit[] | string {
  if (typeof prompt !== 'string') return 'prompt: there is no single text'
  return [set('prompt', JSON.stringify(prompt + text))]
}

function ofChat(body: Buffer, text: string): readonly FieldEdit[] | string {
  const [messages] = fieldsOf(body, ['messages'])
  if (messages === undefined || !isArray(messages)) return 'messages: there are none'
  const all = [...elementsOf(messages)]
  const last = all.at(-1)
  // SGLang takes a last message of the assistant's for one of the user's, which behind it stays the assistant's.
  if (last === undefined || fieldIn(parsedJson(last), 'role') === 'assistant')
    return "messages: the last one is the assistant's already"
  const message = JSON.stringify({ role: 'assistant', content: text })
  const joined = Buffer.concat([messages.subarray(0, -1), Buffer.from(`,${message}]`)])
  return [
    set('messages', joined),
    set('continue_final_message', 'true'),
    set('add_generation_prompt', 'false'),
  ]
}

/** The request for so many tokens less; undefined: that is all it asked for. */
export function lessened(body: Buffer, tokens: number): Buffer | undefined {
  const edits: FieldEdit[] = []
  for (const [i, value] of fieldsOf(body, LIMITS).entries()) {
    const limit = value && parsedJson(value)
    if (typeof limit !== 'number') continue
    const name = LIMITS[i] ?? ''
    const isLeast = name === 'min_tokens'
    if (!isLeast && limit <= tokens) return undefined
    edits.push(set(name, String(Math.max(limit - tokens, 0))))
  }
  return edits.length === 0 ? body : editBody(body, edits)
}
