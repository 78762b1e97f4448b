/** The Responses API's input items as chat messages. */
import type { HistoryMessage } from '../response-store.js'
import type { ResponsesRequest } from '../schemas.js'
import type { ToolChoice, ToolSpec } from '../tools.js'

type Item = Readonly<Record<string, unknown>>

const textOf = (value: unknown): string => (typeof value === 'string' ? value : '')

/** Message items, function calls and their outputs; what else there is (reasoning, …) has no part in the prompt. */
export function inputMessages(input: ResponsesRequest['input']): HistoryMessage[] {
  if (typeof input === 'string') return [{ role: 'user', content: input }]
  return input.flatMap((item): HistoryMessage[] => {
    const type = item.type ?? 'message'
    if (type === 'message')
      return [{ role: textOf(item['role']) || 'user', content: contentText(item['content']) }]
    if (type === 'function_call') return [functionCallMessage(item)]
    if (type !== 'function_call_output') return []
    return [{ role: 'tool', tool_call_id: textOf(item['call_id']), content: contentText(item['output']) }]
  })
}

/** An assistant message that calls one function. */
export const functionCallMessage = (item: Item): HistoryMessage => ({
  role: 'assistant',
  content: null,
  tool_calls: [
    {
      id: textOf(item['call_id']),
      type: 'function',
      function: { name: textOf(item['name']), arguments: textOf(item['arguments']) },
    },
  ],
})

function contentText(content: unknown): string {
  if (!Array.isArray(content)) return textOf(content)
  const parts: readonly unknown[] = content
  return parts
    .map(part => (typeof part === 'object' && part !== null && 'text' in part ? textOf(part.text) : ''))
    .join('')
}

/** Function tools; the built-in ones (web search, …) are not the engine's. */
export function toolSpecs(request: ResponsesRequest): ToolSpec[] {
  return (request.tools ?? []).flatMap(tool =>
    tool.type === 'function' && tool.name !== undefined
      ? [{ name: tool.name, parameters: tool['parameters'] }]
      : [],
  )
}

export function toolChoice(request: ResponsesRequest): ToolChoice {
  const choice = request.tool_choice ?? 'auto'
  if (typeof choice === 'string') return choice
  return choice.name === undefined ? 'auto' : { name: choice.name }
}
