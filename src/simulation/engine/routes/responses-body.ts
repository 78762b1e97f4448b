/** The response object, with the keys of a real vLLM 0.32 answer. */
import type { Answer } from '../answer.js'
import type { Usage } from '../generation.js'
import type { ResponsesRequest } from '../schemas.js'
import type { ToolCall } from '../tools.js'

export interface ResponseState {
  readonly id: string
  /** Seconds since the epoch. */
  readonly created: number
  readonly request: ResponsesRequest
  readonly answer: Answer
  readonly tool: ToolCall | null
}

/** One output item: the message, or the function call. */
export function outputItem({ id, answer, tool }: ResponseState, status: 'in_progress' | 'completed'): object {
  const isDone = status === 'completed'
  if (tool !== null) {
    const call = { call_id: `call_${id}`, name: tool.name, arguments: isDone ? answer.text : '' }
    return { id: itemId({ id, tool }), type: 'function_call', ...call, status }
  }
  const content = isDone ? [outputText(answer.text)] : []
  return { id: itemId({ id, tool }), content, role: 'assistant', status, type: 'message', phase: null }
}

export const itemId = ({ id, tool }: Pick<ResponseState, 'id' | 'tool'>): string =>
  id.replace(/^resp_/, tool === null ? 'msg_' : 'fc_')

export const outputText = (text: string): object => ({
  annotations: [],
  text,
  type: 'output_text',
  logprobs: null,
})

/** The object at its end (`usage` given) or while it is under way. */
export function responseBody(state: ResponseState, usage: Usage | null): Record<string, unknown> {
  const { id, created, request, answer } = state
  const isCut = answer.finish === 'length'
  return {
    id,
    created_at: created,
    incomplete_details: usage !== null && isCut ? { reason: 'max_output_tokens' } : null,
    instructions: request.instructions ?? null,
    metadata: request['metadata'] ?? null,
    model: request.model,
    object: 'response',
    output: usage === null ? [] : [outputItem(state, 'completed')],
    parallel_tool_calls: true,
    temperature: request['temperature'] ?? 1,
    tool_choice: request.tool_choice ?? (request.tools ? 'auto' : 'none'),
    tools: request.tools ?? [],
    top_p: request['top_p'] ?? 1,
    background: false,
    max_output_tokens: request.max_output_tokens ?? null,
    max_tool_calls: null,
    previous_response_id: request.previous_response_id ?? null,
    prompt: null,
    reasoning: null,
    service_tier: 'auto',
    status: usage === null ? 'in_progress' : isCut ? 'incomplete' : 'completed',
    text: null,
    top_logprobs: null,
    truncation: 'disabled',
    usage: usage === null ? null : responseUsage(usage),
    user: request['user'] ?? null,
    presence_penalty: 0,
    frequency_penalty: 0,
    kv_transfer_params: null,
    ec_transfer_params: null,
    input_messages: null,
    output_messages: null,
  }
}

const responseUsage = (usage: Usage): object => ({
  input_tokens: usage.prompt_tokens,
  input_tokens_details: {
    cached_tokens: usage.prompt_tokens_details.cached_tokens,
    cache_write_tokens: 0,
    input_tokens_per_turn: [],
    cached_tokens_per_turn: [],
  },
  output_tokens: usage.completion_tokens,
  output_tokens_details: {
    reasoning_tokens: 0,
    tool_output_tokens: 0,
    output_tokens_per_turn: [],
    tool_output_tokens_per_turn: [],
  },
  total_tokens: usage.total_tokens,
})
