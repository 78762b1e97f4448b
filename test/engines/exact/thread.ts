/** A recorded conversation as it is being held: each of its turns is one request. */
import { VLLM_MODEL } from '../engine.js'
import type { Conversation, Message } from '../recorded.js'

/** How a conversation is held. */
export interface Manner {
  /** Shared by many conversations. */
  readonly system: string
  /** The engine's own answers go into the next turn, as a client's would; else the recorded ones, which it never gave. */
  readonly ownAnswers: boolean
  /** As one text to /v1/completions instead of messages. */
  readonly asText: boolean
  /** Keeps its blocks apart from others' of the same tokens. */
  readonly salt: string | undefined
}

export interface TurnRequest {
  readonly path: '/v1/chat/completions' | '/v1/completions'
  readonly body: Readonly<Record<string, unknown>>
}

export class Thread {
  readonly #messages: Message[]
  /** Index in the recorded messages of the answer that comes next. */
  #next: number

  constructor(
    readonly conversation: Conversation,
    readonly manner: Manner,
  ) {
    this.#messages = [{ role: 'system', content: manner.system }]
    this.#next = -1
    this.#advance()
  }

  /** The request of the turn that it is at; undefined if it is over. */
  request(maxTokens: number, stream: boolean): TurnRequest | undefined {
    if (this.#next < 0) return undefined
    const { tools } = this.conversation
    const { salt, asText } = this.manner
    const shared = {
      model: VLLM_MODEL,
      max_tokens: maxTokens,
      temperature: 0,
      ...(salt === undefined ? {} : { cache_salt: salt }),
      ...(stream ? { stream, stream_options: { include_usage: true } } : {}),
    }
    if (asText) return { path: '/v1/completions', body: { ...shared, prompt: this.#text() } }
    const messages = [...this.#messages]
    const body = { ...shared, messages, ...(tools === undefined ? {} : { tools }) }
    return { path: '/v1/chat/completions', body }
  }

  /** The turn was answered with this text. */
  heard(text: string): void {
    const recorded = this.conversation.messages[this.#next]
    if (recorded === undefined) return
    // A call of a tool stays as recorded: its result comes next.
    const isOwn = this.manner.ownAnswers && !('tool_calls' in recorded)
    this.#messages.push(isOwn ? { ...recorded, content: text } : recorded)
    this.#advance()
  }

  end(): void {
    this.#next = -1
  }

  /** Takes what was recorded up to the next answer. */
  #advance(): void {
    const { messages } = this.conversation
    const from = this.#next + 1
    this.#next = messages.findIndex(({ role }, i) => i >= from && role === 'assistant')
    if (this.#next >= 0) this.#messages.push(...messages.slice(from, this.#next))
  }

  #text(): string {
    const lines = this.#messages.map(({ role, content }) => `${role}: ${content ?? ''}\n`)
    return `${lines.join('')}assistant:`
  }
}
