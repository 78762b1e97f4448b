/** What the engine says: words drawn from a seeded list, so that equal prompts get equal answers. */
import { type Random, seededRandom, seedOf } from './random.js'
import type { EngineTokenizer } from './tokens.js'

/** All at least three letters: with its space a word is at least one token, in the stand-in tokenizer too. */
export const WORDS: readonly string[] = (
  'leaf stem golden angle spiral branch root block cache prefix token prompt model router engine batch queue worker ' +
  'shard index bitmap hash stream chunk decode prefill session profile filter score pick plan state event signal ' +
  'river stone light field cloud forest north winter early quiet bright simple steady careful exact little future'
).split(' ')

/** How long an answer may and must be, in tokens. */
export interface AnswerLimits {
  /** Cut there, with finish reason `length`. */
  readonly most: number
  /** Not before there (vLLM's `min_tokens`). */
  readonly least: number
  /** Up to the limit, whatever the natural end (vLLM's `ignore_eos`). */
  readonly ignoreEos: boolean
  readonly stop: readonly string[]
  /** Mean natural length. */
  readonly mean: number
  /** Always the likeliest token (`temperature: 0`): no seed has a say. */
  readonly isGreedy: boolean
}

export interface Answer {
  readonly tokens: Uint32Array
  /** The text each token adds. */
  readonly pieces: readonly string[]
  readonly text: string
  readonly finish: 'stop' | 'length'
}

/** The answer to a prompt. `sample` tells the choices of one request apart. */
export function composeAnswer(
  prompt: Uint32Array,
  sample: number,
  seed: number,
  limits: AnswerLimits,
  tokenizer: EngineTokenizer,
): Answer {
  const random = seededRandom(seedOf(prompt, seed * 31 + sample))
  // Uniform between half and one and a half times the mean.
  const natural = Math.max(1, limits.least, Math.round(limits.mean * (0.5 + random())))
  const wanted = limits.ignoreEos ? limits.most : Math.min(natural, limits.most)
  const sentence = words(random, wanted)
  const stopAt = limits.ignoreEos ? -1 : firstStop(sentence, limits.stop)
  if (stopAt >= 0) return textAnswer(sentence.slice(0, stopAt), limits.most, tokenizer)
  const all = tokenizer.encode(sentence, false)
  const isCut = wanted === limits.most && (limits.ignoreEos || natural > limits.most)
  return pieced(all.slice(0, wanted), isCut ? 'length' : 'stop', tokenizer)
}

/** A given text as an answer of at most `most` tokens. */
export function textAnswer(text: string, most: number, tokenizer: EngineTokenizer): Answer {
  const all = tokenizer.encode(text, false)
  return pieced(all.slice(0, most), all.length > most ? 'length' : 'stop', tokenizer)
}

function words(random: Random, count: number): string {
  const picked = Array.from({ length: count }, () => WORDS[Math.floor(random() * WORDS.length)] ?? 'leaf')
  return picked.join(' ')
}

/** Where the first of the stop strings begins; -1 if none occurs. */
function firstStop(text: string, stops: readonly string[]): number {
  const found = stops.filter(stop => stop !== '' && text.includes(stop)).map(stop => text.indexOf(stop))
  return found.length === 0 ? -1 : Math.min(...found)
}

/** Token by token; tokenizers that change a text's start when decoding a single token give one even split instead. */
function pieced(tokens: Uint32Array, finish: 'stop' | 'length', tokenizer: EngineTokenizer): Answer {
  const text = tokenizer.decode(tokens)
  const single = Array.from(tokens, id => tokenizer.decode(Uint32Array.of(id)))
  const pieces = single.join('') === text ? single : evenly(text, tokens.length)
  return { tokens, pieces, text, finish }
}

function evenly(text: string, count: number): string[] {
  const characters = Array.from(text)
  const bounds = Array.from({ length: count + 1 }, (_, i) => Math.round((i * characters.length) / count))
  return bounds.slice(1).map((end, i) => characters.slice(bounds[i], end).join(''))
}
