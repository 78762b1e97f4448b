/** Whether a request goes on with a conversation, told from the request alone, so that no thread needs to remember. */
import type { RoutingContext } from './context.js'

const ASSISTANT = Buffer.from('"assistant"')
/** Far enough for any system prompt: the first answer stands behind the first question. */
const LIMIT = 4 * 1024 * 1024

/**
 * Has the conversation an answer in it already? A message of an assistant says so, or the response that it goes on
 * from. (The JSON string "assistant" is searched for as it stands: within a text, its quotes would be escaped. A
 * message of that one word counts as an answer, which nobody sends twice.)
 */
export function isFollowUp(ctx: Pick<RoutingContext, 'has' | 'fieldIncludes'>): boolean {
  if (ctx.has('previous_response_id')) return true
  return ctx.fieldIncludes(ctx.has('messages') ? 'messages' : 'input', ASSISTANT, LIMIT)
}
