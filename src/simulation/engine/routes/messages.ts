/** POST /v1/messages and /v1/messages/count_tokens: Anthropic's Messages API, as vLLM serves it beside OpenAI's. */
import { type Answer, textAnswer } from '../answer.js'
import type { Call } from '../call.js'
import { generate, type HandOffFields, type Usage } from '../generation.js'
import type { EventStream } from '../respond.js'
import { countTokensRequest, type MessagesRequest, messagesRequest } from '../schemas.js'
import { chooseTool, type ToolCall, type ToolChoice } from '../tools.js'

type Content = MessagesRequest['messages'][number]['content']
type Prompted = Pick<MessagesRequest, 'messages' | 'system' | 'tools'>

export function messages(call: Call): void {
  const request = call.parse(messagesRequest)
  const { runtime } = call
  runtime.requireModel(request.model)
  const prompt = encode(call, request)
  const limits = runtime.limits(prompt.length, {
    max_tokens: request.max_tokens,
    stop: request.stop_sequences,
  })
  const tools = (request.tools ?? []).map(tool => ({ name: tool.name, parameters: tool.input_schema }))
  const last = request.messages.at(-1)?.content ?? ''
  const tool = chooseTool(tools, toolChoice(request), textOf(last))
  const answer =
    tool === null
      ? runtime.answer(prompt, 0, limits)
      : textAnswer(tool.arguments, limits.most, runtime.tokenizer)
  const state = { id: `msg_${call.id}`, model: request.model, answer, tool }
  const sink =
    request.stream === true
      ? streamed(call.stream(), state, prompt.length)
      : {
          onDone: (usage: Usage, handOff: HandOffFields) =>
            call.json(200, {
              ...envelope(state),
              ...outcome(state),
              content: [block(state)],
              usage: anthropicUsage(usage),
              ...handOff,
            }),
        }
  generate(call, request.model, null, [{ prompt, answers: [answer] }], sink)
}

export function countTokens(call: Call): void {
  const request = call.parse(countTokensRequest)
  call.runtime.requireModel(request.model)
  call.json(200, { input_tokens: encode(call, request).length })
}

function encode(call: Call, request: Prompted): Uint32Array {
  const system = request.system ? [{ role: 'system', content: textOf(request.system) }] : []
  const turns = request.messages.map(({ role, content }) => ({ role, content: textOf(content) }))
  const tools = (request.tools ?? []).map(tool => ({
    type: 'function',
    function: { name: tool.name, parameters: tool.input_schema ?? {} },
  }))
  const body = {
    messages: [...system, ...turns],
    ...(tools.length > 0 ? { tools } : {}),
    add_generation_prompt: true,
  }
  return call.runtime.encodeChat(Buffer.from(JSON.stringify(body)))
}

/** Text blocks and the text of tool results. */
function textOf(content: Content): string {
  if (typeof content === 'string') return content
  return content
    .map(part => {
      const text = part['text'] ?? part['content']
      return typeof text === 'string' ? text : ''
    })
    .join('')
}

function toolChoice(request: MessagesRequest): ToolChoice {
  const choice = request.tool_choice ?? null
  if (choice === null || choice.type === 'auto') return 'auto'
  if (choice.type === 'none') return 'none'
  return choice.name === undefined ? 'required' : { name: choice.name }
}

interface State {
  readonly id: string
  readonly model: string
  readonly answer: Answer
  readonly tool: ToolCall | null
}

const envelope = ({ id, model }: State) => ({ id, type: 'message', role: 'assistant', model })

function outcome({ answer, tool }: State) {
  const stop_reason = answer.finish === 'length' ? 'max_tokens' : tool === null ? 'end_turn' : 'tool_use'
  return { stop_reason, stop_sequence: null }
}

function block({ id, answer, tool }: State): object {
  if (tool === null) return { type: 'text', text: answer.text }
  return { type: 'tool_use', id: `toolu_${id}`, name: tool.name, input: parsedArguments(answer) }
}

/** Arguments that a limit has cut are no JSON; then there is no input. */
function parsedArguments(answer: Answer): unknown {
  if (answer.finish === 'length') return {}
  const value: unknown = JSON.parse(answer.text)
  return value
}

/** Anthropic counts cached tokens apart from the other input. */
function anthropicUsage(usage: Usage) {
  const cached = usage.prompt_tokens_details.cached_tokens
  return {
    input_tokens: usage.prompt_tokens - cached,
    output_tokens: usage.completion_tokens,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: cached,
  }
}

function streamed(stream: EventStream, state: State, promptTokens: number) {
  const { answer, tool } = state
  const send = (type: string, fields: object): void => stream.send({ type, ...fields }, type)
  const start = (): void => {
    const usage = { input_tokens: promptTokens, output_tokens: 0 }
    const message = { ...envelope(state), content: [], stop_reason: null, stop_sequence: null, usage }
    send('message_start', { message })
    const empty = tool === null ? { type: 'text', text: '' } : { ...block(state), input: {} }
    send('content_block_start', { index: 0, content_block: empty })
  }
  return {
    onToken(_: number, at: number): void {
      if (at === 0) start()
      const piece = answer.pieces[at] ?? ''
      const delta =
        tool === null
          ? { type: 'text_delta', text: piece }
          : { type: 'input_json_delta', partial_json: piece }
      send('content_block_delta', { index: 0, delta })
    },
    onDone(usage: Usage): void {
      send('content_block_stop', { index: 0 })
      send('message_delta', { delta: outcome(state), usage: anthropicUsage(usage) })
      send('message_stop', {})
      stream.end()
    },
  }
}
