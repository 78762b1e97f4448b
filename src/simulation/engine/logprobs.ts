/**
 * Log probabilities of a sequence's tokens, in vLLM's shapes. What the model thinks of a token depends on it and on all
 * before it, so that two engines agree on a token only if they have the same sequence up to there.
 *
 * The token that was taken is always the likeliest, with a probability p between 0.6 and 1; the next ones have halves of
 * what is left: (1 - p) / 2, (1 - p) / 4, …
 */
import { z } from 'zod'
import { type Answer, WORDS } from './answer.js'
import { ApiError } from './respond.js'
import type { EngineTokenizer } from './tokens.js'

/** vLLM's `--max-logprobs`: most tokens told of at each place. */
const MOST_LOGPROBS = 20

const wanted = z.looseObject({
  logprobs: z.union([z.boolean(), z.int()]).nullish(),
  top_logprobs: z.int().nullish(),
  prompt_logprobs: z.int().nullish(),
  echo: z.boolean().nullish(),
  stream: z.boolean().nullish(),
})

/** What a request wants to know: tokens told of at each place, or null where it wants none. */
export interface WantedLogprobs {
  readonly answer: number | null
  readonly prompt: number | null
}

/** Of a chat or of a completion; throws vLLM's 400 for counts that it does not take. */
export function wantedLogprobs(fields: unknown): WantedLogprobs {
  const { logprobs, top_logprobs, prompt_logprobs, echo, stream } = wanted.safeParse(fields).data ?? {}
  const isChat = typeof fields === 'object' && fields !== null && 'messages' in fields
  const top = top_logprobs ?? null
  if (isChat && top !== null && top > 0 && logprobs !== true)
    throw ApiError.badRequest('when using `top_logprobs`, `logprobs` must be set to true.', 'top_logprobs')
  const answer = isChat ? (logprobs === true ? (top ?? 0) : null) : numberOr(logprobs)
  const echoed = echo === true ? (isChat ? (top ?? 0) : answer) : null
  const prompt = prompt_logprobs ?? echoed
  check('logprobs', answer)
  check('prompt_logprobs', prompt)
  if (stream === true && (prompt_logprobs ?? 0) > 0)
    throw ApiError.badRequest('`prompt_logprobs` are not available when `stream=True`.', 'prompt_logprobs')
  return { answer, prompt }
}

const numberOr = (value: unknown): number | null => (typeof value === 'number' ? value : null)

function check(name: string, count: number | null): void {
  if (count === null || (count >= 0 && count <= MOST_LOGPROBS)) return
  throw ApiError.badRequest(`${name} must be from 0 to ${MOST_LOGPROBS}, got ${count}`, name)
}

/** A token that could stand at a place. */
interface Scored {
  readonly id: number
  readonly token: string
  readonly logprob: number
}

/** What is thought of a prompt and an answer to it. */
export class Logprobs {
  /** Of each place, a hash of all tokens up to it; null until somebody asks, which few requests do. */
  private hashes: Uint32Array | null = null

  constructor(
    private readonly prompt: Uint32Array,
    private readonly answer: Answer,
    private readonly tokenizer: EngineTokenizer,
  ) {}

  /** Of the answer's token at that place, for a chat. */
  chatToken(at: number, top: number): object {
    const [taken, ...others] = this.scored(this.prompt.length + at, top)
    const told = taken && chatEntry(taken)
    return { ...told, top_logprobs: top === 0 ? [] : [told, ...others.map(chatEntry)] }
  }

  /** Of so many of the answer's tokens from `at` on, for a completion; `withPrompt`: the prompt's come before them. */
  completion(at: number, count: number, top: number, withPrompt: boolean): object {
    const begin = this.prompt.length + at
    const places = Array.from({ length: count }, (_, i) => begin + i)
    const all = withPrompt ? [...this.prompt.keys(), ...places] : places
    // Without an echo, offsets are counted from the answer's beginning.
    let offset = withPrompt ? 0 : lengthOf(this.answer.pieces.slice(0, at))
    const scored = all.map(place => this.scored(place, top))
    const text_offset = scored.map(([taken]) => {
      const own = offset
      offset += taken?.token.length ?? 0
      return own
    })
    // Nothing comes before the prompt's first token, so that nothing is thought of it.
    const known = scored.map((entry, i) => (all[i] === 0 ? null : entry))
    return {
      text_offset,
      token_logprobs: known.map(entry => entry?.[0]?.logprob ?? null),
      tokens: scored.map(([taken]) => taken?.token),
      top_logprobs: known.map(
        entry => entry && Object.fromEntries(entry.map(({ token, logprob }) => [token, logprob])),
      ),
    }
  }

  /** Of all of the prompt's tokens, by their ids. */
  ofPrompt(top: number): (object | null)[] {
    return Array.from(this.prompt.keys(), place => (place === 0 ? null : this.byId(place, top)))
  }

  private byId(place: number, top: number): object {
    const entries = this.scored(place, top).map(({ id, token, logprob }, i) => [
      id,
      { logprob, rank: i + 1, decoded_token: token },
    ])
    return Object.fromEntries(entries)
  }

  private hashAt(place: number): number {
    this.hashes ??= this.hashed()
    return this.hashes[place] ?? 0
  }

  /** FNV-1a, as it stands after each token. */
  private hashed(): Uint32Array {
    const hashes = new Uint32Array(this.prompt.length + this.answer.tokens.length)
    let hash = 0x811c9dc5
    for (let i = 0; i < hashes.length; i++) {
      hash = Math.imul(hash ^ this.idAt(i), 0x01000193) >>> 0
      hashes[i] = hash
    }
    return hashes
  }

  private idAt(place: number): number {
    const { prompt, answer } = this
    return (place < prompt.length ? prompt[place] : answer.tokens[place - prompt.length]) ?? 0
  }

  /** The token that was taken and, up to `top` in all, those that were not. */
  private scored(place: number, top: number): Scored[] {
    const hash = this.hashAt(place)
    const taken = 0.6 + (0.4 * hash) / 2 ** 32
    const id = this.idAt(place)
    const at = place - this.prompt.length
    const token = at < 0 ? this.tokenizer.decode(Uint32Array.of(id)) : (this.answer.pieces[at] ?? '')
    const found = [{ id, token, logprob: rounded(taken) }]
    for (let i = 0; found.length < top && i < WORDS.length; i++) {
      const [other] = this.tokenizer.encode(WORDS[(hash + i) % WORDS.length] ?? '', false)
      if (other === undefined) continue
      const text = this.tokenizer.decode(Uint32Array.of(other))
      if (found.some(each => each.id === other || each.token === text)) continue
      found.push({ id: other, token: text, logprob: rounded((1 - taken) / 2 ** found.length) })
    }
    return found
  }
}

const rounded = (probability: number): number => Math.round(Math.log(probability) * 1e6) / 1e6

const lengthOf = (pieces: readonly string[]): number => pieces.reduce((sum, { length }) => sum + length, 0)

const chatEntry = ({ token, logprob }: Scored): object => ({
  token,
  logprob,
  bytes: [...Buffer.from(token, 'utf8')],
})
