/**
 * `models[].forwardTokens`: a text completion goes to its pod with the prompt's token ids in place of the text, so that
 * the engine need not tokenize again. All other bytes stay as they came.
 *
 * Only where the engine gives the same answer either way. vLLM (0.22 and 0.32) and SGLang (0.5.23) take
 * `prompt: [1, 2, 3]` as one prompt and use the ids as they are; MAX does so, too.
 *
 * Chats have ids in MAX alone: its `prompt_tokens` stands in for the messages, which it still reads for images and tools
 * (openai_create_chat_completion of modular's max/serve: "If both are sent on the wire, prompt_tokens wins"). They go out
 * as well, so that an engine that does not know the field answers all the same.
 */
import { SUMMARY, SUMMARY_WORDS } from '../data/native.js'
import { runsOtherFiles } from '../data/pod-view.js'
import type { TokenForwarding } from '../data/token-forwarding.js'
import { parsedText } from './hand-off/fault.js'
import type { StepContext, StepInput } from './workflow.js'

/**
 * Fields that need the text, or mean something else for ids: the text comes back in the answer (`echo`, `suffix`), other
 * input takes the prompt's place, ids are cut off, or offsets into the text are asked for. As keys they can't be hidden in
 * a text, where their quotes would be escaped; whatever they are set to, such a request is left alone.
 */
const TEXT_FIELDS = ['echo', 'suffix', 'prompt_embeds', 'truncate_prompt_tokens', 'return_token_offsets'].map(
  name => Buffer.from(`"${name}"`),
)
/** A key may be written with such escapes; a string value hardly ever is, besides the prompt. */
const ESCAPE = Buffer.from('\\u')
/** Halves of characters beyond 16 bits begin like this. A lone one is a fault that engines refuse in a text. */
const SURROGATES = [Buffer.from('\\ud'), Buffer.from('\\uD')]
/** Bytes of a prompt looked at for a letter, which most texts begin with. */
const GLANCE = 64

const CHAT_IDS = Buffer.from('{"prompt_tokens":')
const OWN_IDS = Buffer.from('"prompt_tokens"')
const COMMA = Buffer.from(',')

/** The body with ids in place of the prompt, or beside the messages; undefined where the request goes as it came. */
export function tokenBody({ ctx, pod }: StepInput<never>): Buffer | undefined {
  const { forwarding, request, body } = ctx
  if (forwarding === undefined || runsOtherFiles(pod)) return undefined
  if (request.kind === 'chat') return forwarding.chats ? chatWithTokens(ctx, forwarding) : undefined
  if (request.kind !== 'completions') return undefined
  const prompt = promptOf(ctx)
  if (prompt === undefined || !isPlainText(prompt) || !isOrdinary(ctx) || !isExact(ctx)) return undefined
  const start = prompt.byteOffset - body.byteOffset
  const before = body.subarray(0, start)
  const after = body.subarray(start + prompt.length)
  if (needsText(before) || needsText(after) || !forwarding.admits()) return undefined
  const tokens = ctx.lane.native.tokens(ctx.ticket)
  return tokens.length > 0 ? Buffer.concat([before, jsonArray(tokens), after]) : undefined
}

/** The chat with the ids as its first field. One that brings ids of its own is left alone. */
function chatWithTokens(ctx: StepContext, forwarding: TokenForwarding): Buffer | undefined {
  const { body, lane, ticket } = ctx
  if (!isExact(ctx) || body.includes(OWN_IDS) || !forwarding.admits()) return undefined
  const tokens = lane.native.tokens(ticket)
  const open = body.indexOf('{') + 1
  if (tokens.length === 0 || open === 0) return undefined
  // A body that was scanned has a model, so a field follows.
  return Buffer.concat([CHAT_IDS, jsonArray(tokens), COMMA, body.subarray(open)])
}

function promptOf(ctx: StepContext): Buffer | undefined {
  const bytes = ctx.fieldBytes('prompt', ctx.body.length)
  return bytes && Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/** All tokens are the model's own; an estimate's would be those of the beginning. */
function isExact(ctx: StepContext): boolean {
  const words = new Uint32Array(SUMMARY_WORDS)
  ctx.lane.native.summary(ctx.ticket, words)
  return words[SUMMARY.exact] === 1
}

const needsText = (bytes: Buffer): boolean =>
  bytes.includes(ESCAPE) || TEXT_FIELDS.some(field => bytes.includes(field))

/**
 * `add_special_tokens: false` is vLLM's; SGLang adds BOS all the same. `session_params` are SGLang's: the prompt is put
 * behind what the session holds.
 */
function isOrdinary(ctx: StepContext): boolean {
  const special = ctx.rawField('add_special_tokens')
  return (special === undefined || special === 'true') && !ctx.has('session_params')
}

/** One text that an engine would take: not only white space, which SGLang refuses, and without lone surrogates. */
function isPlainText(json: Buffer): boolean {
  if (json[0] !== 0x22) return false
  const hasLetter = /^[^\\]*[!-[\]-~]/.test(json.toString('latin1', 1, Math.min(GLANCE, json.length - 1)))
  if (hasLetter && !SURROGATES.some(half => json.includes(half))) return true
  const text = parsedText(json.toString())
  return typeof text === 'string' && text.trim() !== '' && !/\p{Surrogate}/u.test(text)
}

/** Decimal digits of the largest id, and the comma. */
const MOST_DIGITS = 11

/** A list of numbers as JSON. By hand, since 100,000 ids through strings would hold up the other requests for long. */
export function jsonArray(numbers: Uint32Array): Buffer {
  const bytes = Buffer.allocUnsafe(numbers.length * MOST_DIGITS + 2)
  let at = 0
  bytes[at++] = 0x5b
  for (const number of numbers) {
    const end = at + digits(number)
    let rest = number
    for (let place = end - 1; place >= at; place--) {
      const tenth = Math.floor(rest / 10)
      bytes[place] = 0x30 + rest - tenth * 10
      rest = tenth
    }
    bytes[end] = 0x2c
    at = end + 1
  }
  if (numbers.length > 0) at--
  bytes[at++] = 0x5d
  return bytes.subarray(0, at)
}

function digits(number: number): number {
  let count = 1
  for (let limit = 10; number >= limit; limit *= 10) count++
  return count
}
