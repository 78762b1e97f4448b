/** Recorded conversations: the demo's, of a coding agent, and this folder's own, of an assistant with functions. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'
import { paths } from './paths.js'

/** Looser than the OpenAI client's types: whatever was recorded goes out as it is. */
const message = z.looseObject({ role: z.string(), content: z.unknown() })
const conversation = z.object({
  id: z.string(),
  messages: z.array(message),
  tools: z.array(z.unknown()).optional(),
})

export type Message = z.infer<typeof message>
export type Conversation = z.infer<typeof conversation>

/** Thousands of tokens each. */
export const agentConversations = (): Conversation[] => read(paths.agentConversations)

/** Hundreds of tokens each, half of them with tools. */
export const chatConversations = (): Conversation[] => read(paths.chatConversations)

function read(file: string): Conversation[] {
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n')
  return lines.map(line => conversation.parse(JSON.parse(line)))
}

/** What was sent at each turn: all messages before each of the assistant's. */
export function promptsOf({ messages }: Conversation): Message[][] {
  return messages.flatMap(({ role }, i) => (role === 'assistant' && i > 0 ? [messages.slice(0, i)] : []))
}
