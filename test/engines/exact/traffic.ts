/** Conversations that come and go, a few at a time: far more in all than fit into the engines' caches. */
import { type Random, seededRandom } from '#phyllo/simulation/engine/random.js'
import { type Conversation, chatConversations } from '../recorded.js'
import { systemPrompts } from './system-prompts.js'
import { type Manner, Thread, type TurnRequest } from './thread.js'

/** Held at the same time. At some 700 tokens each three times what two caches of 96 blocks of 32 hold. */
const ACTIVE = 24
/** Part that is held once more from the beginning when it is over, in the same manner: its blocks may still be there. */
const REPEATED = 0.3

export interface Turn extends TurnRequest {
  readonly thread: Thread
}

export class Traffic {
  readonly #random: Random
  readonly #conversations: readonly Conversation[]
  readonly #idle: Thread[] = []
  #taken = 0

  /** `tools`: what the recorded conversations have of them goes along. */
  constructor(seed: number, tools: boolean) {
    this.#random = seededRandom(seed)
    this.#conversations = tools ? chatConversations() : chatConversations().map(withoutTools)
    for (let i = 0; i < ACTIVE; i++) this.#idle.push(this.#fresh())
  }

  /** The next turn of any conversation that waits for nothing. It must be given back by `done`. */
  take(): Turn {
    for (;;) {
      const [thread] = this.#idle.splice(Math.floor(this.#random() * this.#idle.length), 1)
      if (thread === undefined) throw new Error('all conversations are under way')
      // 1 to 12 tokens of answer: blocks end in it, before it and behind it.
      const request = thread.request(1 + Math.floor(this.#random() * 12), this.#random() < 0.5)
      if (request !== undefined) return { ...request, thread }
      this.#idle.push(this.#after(thread))
    }
  }

  /** The turn was answered with that text; undefined: it was too long to be sent, so the conversation ends. */
  done({ thread }: Turn, text: string | undefined): void {
    if (text === undefined) thread.end()
    else thread.heard(text)
    this.#idle.push(thread)
  }

  #after({ conversation, manner }: Thread): Thread {
    return this.#random() < REPEATED ? new Thread(conversation, manner) : this.#fresh()
  }

  #fresh(): Thread {
    const conversation = this.#conversations[this.#taken++ % this.#conversations.length]
    if (conversation === undefined) throw new Error('there are no conversations')
    return new Thread(conversation, this.#manner())
  }

  #manner(): Manner {
    const random = this.#random
    const system = systemPrompts[Math.floor(random() * systemPrompts.length)] ?? ''
    const salt = random() < 0.1 ? `tenant-${Math.floor(random() * 2)}` : undefined
    return { system, ownAnswers: random() < 0.5, asText: random() < 0.15, salt }
  }
}

const withoutTools = ({ id, messages }: Conversation): Conversation => ({ id, messages })
