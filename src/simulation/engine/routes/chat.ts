/** POST /v1/chat/completions, in vLLM 0.32's shapes. */
import { type Answer, textAnswer } from '../answer.js'
import type { Call } from '../call.js'
import { chatAnswer } from '../continued.js'
import { fullUsage, generate, type HandOffFields, runningUsage, type Usage } from '../generation.js'
import { Logprobs, type WantedLogprobs, wantedLogprobs } from '../logprobs.js'
import { FINGERPRINT } from '../runtime.js'
import { type ChatMessage, type ChatRequest, chatRequest } from '../schemas.js'
import { chooseTool, type ToolCall, type ToolChoice } from '../tools.js'

interface Choice {
  readonly answer: Answer
  readonly tool: ToolCall | null
  readonly logprobs: Logprobs
}

/** A request, what it asks for, and what it will be answered. */
interface State {
  readonly request: ChatRequest
  readonly prompt: Uint32Array
  readonly choices: readonly Choice[]
  readonly wanted: WantedLogprobs
}

export function chat(call: Call): void {
  const request = call.parse(chatRequest)
  const { runtime } = call
  runtime.requireModel(request.model)
  const ids = request.prompt_tokens ?? []
  const prompt = ids.length > 0 ? Uint32Array.from(ids) : runtime.encodeChat(call.bytes)
  const max_tokens = request.max_completion_tokens ?? request.max_tokens
  const limits = runtime.limits(prompt.length, { ...request, max_tokens })
  const tool = chooseTool(toolSpecs(request), toolChoice(request), lastText(request.messages))
  const choices = Array.from({ length: request.n ?? 1 }, (_, sample): Choice => {
    const answer =
      tool === null
        ? chatAnswer(call, request, prompt, sample, limits)
        : textAnswer(tool.arguments, limits.most, runtime.tokenizer)
    return { answer, tool, logprobs: new Logprobs(prompt, answer, runtime.tokenizer) }
  })
  const tasks = [{ prompt, answers: choices.map(choice => choice.answer) }]
  const state = { request, prompt, choices, wanted: wantedLogprobs(request) }
  const sink = request.stream === true ? streamed(call, state) : whole(call, state)
  generate(call, request.model, request.cache_salt, tasks, sink)
}

const toolSpecs = (request: ChatRequest) =>
  (request.tools ?? []).map(tool => ({ name: tool.function.name, parameters: tool.function.parameters }))

function toolChoice(request: ChatRequest): ToolChoice {
  const choice = request.tool_choice ?? 'auto'
  return typeof choice === 'string' ? choice : { name: choice.function.name }
}

/** The text of the last message. */
export function lastText(messages: readonly ChatMessage[]): string {
  const content = messages.at(-1)?.content
  if (typeof content === 'string') return content
  return (content ?? []).map(part => (typeof part['text'] === 'string' ? part['text'] : '')).join('')
}

/** `tool_calls`, unless the answer was cut or the request named the tool: then vLLM gives the plain reason. */
const finishReason = ({ answer, tool }: Choice): string =>
  tool !== null && !tool.isNamed && answer.finish === 'stop' ? 'tool_calls' : answer.finish

const callId = (call: Call, index: number): string => `chatcmpl-tool-${call.id}-${index}`

/** Of the answer's tokens from `at` to `end`; null where nobody asked. */
const contentOf = ({ answer, logprobs }: Choice, { answer: top }: WantedLogprobs, at = 0, end?: number) =>
  top === null
    ? null
    : {
        content: answer.pieces.slice(at, end).map((_, i) => logprobs.chatToken(at + i, top)),
      }

function whole(call: Call, { request, prompt, choices, wanted }: State) {
  const wantsIds = request.return_token_ids === true
  const message = ({ answer, tool }: Choice, index: number): object => ({
    role: 'assistant',
    content: tool === null ? answer.text : '',
    refusal: null,
    annotations: null,
    audio: null,
    function_call: null,
    ...(tool === null
      ? {}
      : {
          tool_calls: [
            {
              id: callId(call, index),
              type: 'function',
              function: { name: tool.name, arguments: answer.text },
            },
          ],
        }),
    reasoning: null,
  })
  return {
    onDone: (usage: Usage, handOff: HandOffFields) =>
      call.json(200, {
        id: `chatcmpl-${call.id}`,
        object: 'chat.completion',
        created: call.created,
        model: request.model,
        choices: choices.map((choice, index) => ({
          index,
          message: message(choice, index),
          logprobs: contentOf(choice, wanted),
          finish_reason: finishReason(choice),
          stop_reason: null,
          token_ids: wantsIds ? Array.from(choice.answer.tokens) : null,
          routed_experts: null,
        })),
        service_tier: null,
        system_fingerprint: FINGERPRINT,
        usage: fullUsage(usage),
        prompt_logprobs:
          wanted.prompt === null ? null : (choices[0]?.logprobs.ofPrompt(wanted.prompt) ?? null),
        prompt_token_ids: wantsIds ? Array.from(prompt) : null,
        prompt_text: null,
        kv_transfer_params: null,
        ec_transfer_params: null,
        metrics: null,
        ...handOff,
      }),
  }
}

function streamed(call: Call, { request, prompt, choices, wanted }: State) {
  const stream = call.stream()
  const wantsIds = request.return_token_ids === true
  const head = {
    id: `chatcmpl-${call.id}`,
    object: 'chat.completion.chunk',
    created: call.created,
    model: request.model,
  }
  const withUsage = request.stream_options?.include_usage === true
  const running = runningUsage(request.stream_options)
  const sendRole = (index: number): void => {
    const delta = { role: 'assistant', content: '' }
    stream.send({
      ...head,
      choices: [{ index, delta, logprobs: null, finish_reason: null }],
      prompt_token_ids: wantsIds ? Array.from(prompt) : null,
      prompt_text: null,
      ...running(prompt.length, 0),
    })
  }
  let unfinished = choices.length
  return {
    onToken(choice: number, at: number): void {
      const state = choices[choice]
      if (state === undefined) return
      if (at === 0) sendRole(choice)
      const { answer, tool } = state
      const piece = answer.pieces[at] ?? ''
      const isLast = at === answer.pieces.length - 1
      if (isLast) unfinished--
      const delta =
        tool === null ? { content: piece } : { tool_calls: [toolDelta(call, choice, tool, at, piece)] }
      const token_ids = wantsIds ? Array.from(answer.tokens.subarray(at, at + 1)) : null
      const end = isLast ? { finish_reason: finishReason(state), stop_reason: null } : { finish_reason: null }
      stream.send({
        ...head,
        choices: [
          { index: choice, delta, logprobs: contentOf(state, wanted, at, at + 1), ...end, token_ids },
        ],
        ...running(prompt.length, at + 1),
        ...(isLast && unfinished === 0 && !withUsage ? { system_fingerprint: FINGERPRINT } : {}),
      })
    },
    onDone(usage: Usage): void {
      if (withUsage) stream.send({ ...head, choices: [], usage, system_fingerprint: FINGERPRINT })
      stream.send('[DONE]')
      stream.end()
    },
  }
}

/** The first piece carries id and name, as OpenAI's streams do. */
function toolDelta(call: Call, choice: number, tool: ToolCall, at: number, piece: string): object {
  if (at > 0) return { index: 0, function: { arguments: piece } }
  return {
    id: callId(call, choice),
    type: 'function',
    index: 0,
    function: { name: tool.name, arguments: piece },
  }
}
