/** Recorded conversations as the requests that made them. */
import { readFileSync } from 'node:fs'
import { z } from 'zod'

const message = z.looseObject({ role: z.string(), content: z.string().nullable() })
const conversation = z.object({ id: z.string(), messages: z.array(message).min(2) })

export type Message = z.output<typeof message>
export type Conversation = z.output<typeof conversation>

/** One turn: all messages up to a recorded assistant message, which is what was answered. */
export interface Turn {
  readonly messages: readonly Message[]
  /** Characters of the recorded answer, tool calls included. */
  readonly answerLength: number
}

/** Reads one conversation a line. Throws with the line's number if one is not as it should be. */
export function loadConversations(path: string | URL): Conversation[] {
  const lines = readFileSync(path, 'utf8').split('\n')
  return lines.flatMap((line, at) => {
    if (line.trim() === '') return []
    const parsed = conversation.safeParse(JSON.parse(line))
    if (!parsed.success) throw new Error(`${String(path)}:${at + 1}: ${z.prettifyError(parsed.error)}`)
    return [parsed.data]
  })
}

/** The turns of a conversation, in order. Each one's messages begin with those of the turn before. */
export function turnsOf({ messages }: Conversation): Turn[] {
  return messages.flatMap((answer, at) => {
    if (answer.role !== 'assistant' || at === 0) return []
    const calls = answer['tool_calls'] === undefined ? '' : JSON.stringify(answer['tool_calls'])
    return [{ messages: messages.slice(0, at), answerLength: (answer.content ?? '').length + calls.length }]
  })
}
