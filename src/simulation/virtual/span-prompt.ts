/**
 * Prompts that nobody knows the text of, only which parts of them are equal: spans, each with a number. Equal numbers
 * are equal tokens, different ones differ from the first token on. Traces that hold hashes or lengths alone are made of
 * them, and so are synthetic workloads.
 *
 * A span's tokens are the ten decimal digits of its number and zeros behind them. One character an id keeps the bodies
 * short: they are JSON, which the router reads, and a trace has a hundred million tokens.
 */
import type { Prompt } from './workload.js'

/** A run of tokens that stands for itself wherever it occurs behind the same tokens. */
export interface Span {
  /** 0 to 9,999,999,999. */
  readonly id: number
  readonly tokens: number
}

const DIGITS = 10

/**
 * Numbers from here on are for answers that nobody knows: engines keep their blocks, too, and they take up room, but no
 * prompt is known to hold them. Traces number their blocks below.
 */
export const UNKNOWN_ANSWERS = 5_000_000_000
const ZERO = '0'.charCodeAt(0)

export class SpanPrompt implements Prompt {
  readonly kind = 'completions'
  readonly length: number

  /** @param answer what the engine will say; of a number of its own where no later prompt holds it */
  constructor(
    private readonly spans: readonly Span[],
    private readonly answer: Span,
  ) {
    this.length = lengthOf(spans)
  }

  body(model: string, outputTokens: number, session: string | null): Buffer {
    const user = session === null ? '' : `,"user":${JSON.stringify(session)}`
    const head = `{"model":${JSON.stringify(model)},"stream":true,"max_tokens":${outputTokens}${user},"prompt":[`
    const start = Buffer.byteLength(head)
    const end = start + Math.max(0, 2 * this.length - 1)
    const body = Buffer.alloc(end + 2, '0,')
    // The pattern begins with a digit; where the head is of odd length, so must the ids.
    if (start % 2 === 1) body.fill('0,', start, end)
    body.write(head, 0)
    let at = start
    for (const { id, tokens } of this.spans) {
      for (let digit = 0, rest = id; digit < Math.min(DIGITS, tokens); digit++) {
        body[at + 2 * digit] = ZERO + (rest % 10)
        rest = Math.floor(rest / 10)
      }
      at += 2 * tokens
    }
    body.write(']}', end)
    return body
  }

  tokens(): Uint32Array {
    return tokensOf([...this.spans, this.answer])
  }

  answerTokens(): Uint32Array {
    return tokensOf([this.answer])
  }
}

const lengthOf = (spans: readonly Span[]): number => spans.reduce((sum, { tokens }) => sum + tokens, 0)

function tokensOf(spans: readonly Span[]): Uint32Array {
  const all = new Uint32Array(lengthOf(spans))
  let at = 0
  for (const { id, tokens } of spans) {
    for (let digit = 0, rest = id; digit < Math.min(DIGITS, tokens); digit++) {
      all[at + digit] = rest % 10
      rest = Math.floor(rest / 10)
    }
    at += tokens
  }
  return all
}
