/** Prompts with real text: the router gets the messages, the engine their tokens by the model's own template. */
import type { Tokenizer } from '../../data/native.js'
import type { Message } from '../conversations.js'
import type { Prompt } from '../virtual/workload.js'

/** A turn as it was recorded. */
export interface ChatTurn {
  readonly messages: readonly Message[]
  readonly answer: string
  readonly tools: readonly unknown[] | undefined
}

/** An answer without text is the token that ends it. */
const EMPTY_ANSWER = Uint32Array.of(0)

export class ChatPrompt implements Prompt {
  readonly kind = 'chat'

  /** @param all tokens of the prompt, and behind them as many as the answer has */
  private constructor(
    private readonly turn: ChatTurn,
    private readonly all: Uint32Array,
    readonly length: number,
  ) {}

  /**
   * The turns of one conversation. As the next prompt shows an answer, so it was generated: its tokens are read there.
   * They share one array where each prompt begins with the one before, as with most templates.
   */
  static ofTurns(turns: readonly ChatTurn[], tokenizer: Tokenizer): ChatPrompt[] {
    const prompts: ChatPrompt[] = []
    /** The prompt of the turn behind. */
    let next: Uint32Array = new Uint32Array(0)
    for (const turn of turns.toReversed()) {
      const own = tokenizer.encodeChat(bodyOf('', turn, ''))
      const answer = tokenizer.encode(turn.answer, false)
      const end = own.length + Math.max(1, answer.length)
      const isShown = next.length >= end && startsWith(next, own)
      const all = isShown ? next.subarray(0, end) : joined(own, answer.length === 0 ? EMPTY_ANSWER : answer)
      prompts.unshift(new ChatPrompt(turn, all, own.length))
      next = all.subarray(0, own.length)
    }
    return prompts
  }

  get outputTokens(): number {
    return this.all.length - this.length
  }

  body(model: string, outputTokens: number, session: string | null): Buffer {
    const user = session === null ? '' : `,"user":${JSON.stringify(session)}`
    return bodyOf(model, this.turn, `,"stream":true,"max_tokens":${outputTokens}${user}`)
  }

  tokens(): Uint32Array {
    return this.all
  }

  answerTokens(): Uint32Array {
    return this.all.subarray(this.length)
  }
}

function bodyOf(model: string, { messages, tools }: ChatTurn, more: string): Buffer {
  const listed = tools === undefined ? '' : `,"tools":${JSON.stringify(tools)}`
  return Buffer.from(
    `{"model":${JSON.stringify(model)}${more},"messages":${JSON.stringify(messages)}${listed}}`,
  )
}

const startsWith = (all: Uint32Array, start: Uint32Array): boolean =>
  start.length <= all.length && start.every((token, at) => all[at] === token)

function joined(a: Uint32Array, b: Uint32Array): Uint32Array {
  const all = new Uint32Array(a.length + b.length)
  all.set(a)
  all.set(b, a.length)
  return all
}
