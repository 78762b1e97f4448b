/**
 * Chats that go on with the beginning of an answer (`continue_final_message`): what the engine says is what would have
 * come behind it, had it said the beginning itself. So an answer that two engines give one after the other is that of one.
 */
import type { Answer, AnswerLimits } from './answer.js'
import type { Call } from './call.js'
import { ApiError } from './respond.js'
import type { ChatRequest } from './schemas.js'

/** A conversation that an answer has begun of. */
interface Begun {
  /** The tokens of the prompt without the beginning. */
  readonly prompt: Uint32Array
  readonly text: string
}

/** Undefined for requests that begin their answer themselves. Throws vLLM's 400 for fields that contradict each other. */
function begunOf(call: Call, request: ChatRequest): Begun | undefined {
  if (request.continue_final_message !== true) return undefined
  const { runtime } = call
  // SGLang does not know the other field.
  if (request.add_generation_prompt !== false && runtime.options.kvConnector !== 'sglang')
    throw ApiError.badRequest(
      'Cannot set both `continue_final_message` and `add_generation_prompt` to True.',
      'continue_final_message',
    )
  const last = request.messages.at(-1)
  if (last?.role !== 'assistant' || typeof last.content !== 'string' || request.messages.length < 2)
    return undefined
  const before = {
    ...request,
    messages: request.messages.slice(0, -1),
    continue_final_message: false,
    add_generation_prompt: true,
  }
  return { prompt: runtime.encodeChat(Buffer.from(JSON.stringify(before))), text: last.content }
}

/** The answer to a chat. `sample` tells the choices of one request apart. */
export function chatAnswer(
  call: Call,
  request: ChatRequest,
  prompt: Uint32Array,
  sample: number,
  limits: AnswerLimits,
): Answer {
  const { runtime } = call
  const begun = begunOf(call, request)
  if (begun === undefined) return runtime.answer(prompt, sample, limits)
  const longer = (by: number): Answer =>
    runtime.answer(begun.prompt, sample, { ...limits, most: limits.most + by, least: limits.least + by })
  // A token has a byte at least.
  const said = piecesOf(longer(Buffer.byteLength(begun.text)), begun.text)
  // Not what it would have said: it goes on as it likes.
  if (said === undefined) return runtime.answer(prompt, sample, limits)
  const { tokens, pieces, finish } = longer(said)
  const rest = pieces.slice(said)
  // Its end token is all that is left.
  if (rest.length === 0) return { tokens: tokens.slice(-1), pieces: [''], text: '', finish }
  return { tokens: tokens.slice(said), pieces: rest, text: rest.join(''), finish }
}

/** How many pieces of the answer the text is; undefined where it is not their beginning. */
function piecesOf({ pieces }: Answer, text: string): number | undefined {
  for (let count = 0, joined = ''; count <= pieces.length; joined += pieces[count++] ?? '') {
    if (joined === text) return count
  }
  return undefined
}
