/** Whether a request goes on with a conversation, told from the request alone, so that no thread needs to remember. */
import type { RoutingContext } from './context.js'

const ASSISTANT = Buffer.from('"assistant"')
/** Far enough for any system prompt: the first answer stands behind the first question. */
const LIMIT = 4 * 1024 * 1024

/**
 * Has the conversation an answer in it already? A message of an assistant says so, or the response that it goes on
 * from. (The JSON string "assistant" is searched for as it stands: in text, its quotes would be escaped.)
 */
export function isFollowUp(ctx: Pick<RoutingContext, 'has' | 'fieldBytes'>): boolean {
  if (ctx.has('previous_response_id')) return true
  const said = ctx.fieldBytes('messages', LIMIT) ?? ctx.fieldBytes('input', LIMIT)
  if (said === undefined) return false
  return Buffer.from(said.buffer, said.byteOffset, said.byteLength).includes(ASSISTANT)
}
