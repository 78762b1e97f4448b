/** POST /v1/responses and GET /v1/responses/{id}: OpenAI's Responses API with stored state. */
import { type Answer, textAnswer } from '../answer.js'
import type { Call } from '../call.js'
import { generate } from '../generation.js'
import { ApiError } from '../respond.js'
import type { HistoryMessage } from '../response-store.js'
import { type ResponsesRequest, responsesRequest } from '../schemas.js'
import { chooseTool, type ToolCall } from '../tools.js'
import { type ResponseState, responseBody } from './responses-body.js'
import { ResponseEvents } from './responses-events.js'
import { functionCallMessage, inputMessages, toolChoice, toolSpecs } from './responses-input.js'

export function createResponse(call: Call): void {
  const request = call.parse(responsesRequest)
  const { runtime } = call
  runtime.requireModel(request.model)
  const history = [...earlier(call, request), ...inputMessages(request.input)]
  const system = request.instructions ? [{ role: 'system', content: request.instructions }] : []
  const tools = toolSpecs(request)
  const body = {
    messages: [...system, ...history],
    ...(tools.length > 0 ? { tools: chatTools(tools) } : {}),
    add_generation_prompt: true,
  }
  const prompt = runtime.encodeChat(Buffer.from(JSON.stringify(body)))
  const limits = runtime.limits(prompt.length, {
    max_tokens: request.max_output_tokens,
    temperature: request.temperature,
  })
  const lastMessage = history.at(-1)?.['content']
  const tool = chooseTool(tools, toolChoice(request), typeof lastMessage === 'string' ? lastMessage : '')
  const answer =
    tool === null
      ? runtime.answer(prompt, 0, limits)
      : textAnswer(tool.arguments, limits.most, runtime.tokenizer)
  const state: ResponseState = { id: `resp_${call.id}`, created: call.created, request, answer, tool }
  const events = request.stream === true ? new ResponseEvents(call.stream(), state) : null
  events?.begin()
  generate(call, request.model, request.cache_salt, [{ prompt, answers: [answer] }], {
    onToken: (_, at) => events?.token(at),
    onDone(usage, handOff) {
      const finished = { ...responseBody(state, usage), ...handOff }
      if (request.store !== false) {
        runtime.responses.set(state.id, {
          body: finished,
          history: [...history, answerMessage(state, answer, tool)],
        })
      }
      if (events === null) call.json(200, finished)
      else events.end(finished)
    },
  })
}

const chatTools = (tools: ReturnType<typeof toolSpecs>): object[] =>
  tools.map(({ name, parameters }) => ({ type: 'function', function: { name, parameters } }))

/** The conversation that the request continues. */
function earlier(call: Call, request: ResponsesRequest): readonly HistoryMessage[] {
  const id = request.previous_response_id ?? null
  return id === null ? [] : find(call, id).history
}

function find(call: Call, id: string) {
  const stored = call.runtime.responses.get(id)
  if (stored !== undefined) return stored
  throw new ApiError(404, 'invalid_request_error', `Response with id '${id}' not found.`, 'response_id')
}

function answerMessage(state: ResponseState, answer: Answer, tool: ToolCall | null): HistoryMessage {
  if (tool === null) return { role: 'assistant', content: answer.text }
  return functionCallMessage({ call_id: `call_${state.id}`, name: tool.name, arguments: answer.text })
}

export function getResponse(call: Call, id: string): void {
  call.json(200, find(call, id).body)
}

/** All responses here are synchronous, and those cannot be cancelled (vLLM's answer). */
export function cancelResponse(call: Call, id: string): void {
  find(call, id)
  throw new ApiError(400, 'invalid_request_error', 'Cannot cancel a synchronous response.', 'response_id')
}
