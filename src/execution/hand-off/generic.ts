/**
 * Two steps for any engine: the prompt goes to a prefill pod, which answers one token; then the same prompt goes to
 * the decode pod with a hint at who holds its blocks. What decode makes of the hint is its own affair (a shared cache
 * store, a transfer of its own); without it, or with a bad one, it computes the prompt itself. So a hint can be wrong
 * but never break a request.
 */
import type { CacheHint } from '../../data/cache-hint.js'
import { type BodyKind, CACHE_MODES } from '../../data/native.js'
import { type Body, editBody, set } from '../body-edit.js'
import { cleanedWith, HINT_FIELD, HINT_HEADER, withoutClientHeaders } from './client-fields.js'
import { fieldIn, parsedJson } from './fault.js'
import { prefillEdits } from './prefill-edits.js'

/** Readers ignore hints of any other version. */
const VERSION = 1

/** No hint is as long as this, in bytes or characters; longer ones are not looked at. */
const MAX_HINT = 4096

/** Who has computed the prompt, and what the router thinks that the pod which decodes held of it. */
export interface PrefillHint {
  /** The prefill pod's id and where it is: `http://10.0.0.1:8000`. */
  readonly pod: string
  readonly origin: string
  /** Of the decode pod, as it was booked. Absent where the request's profile does not hash prompts. */
  readonly cache?: CacheHint | undefined
}

/** The hint as JSON in ASCII, fit for the field and for the header. */
export function writeHint({ pod, origin, cache }: PrefillHint): string {
  const json = JSON.stringify({
    version: VERSION,
    pod,
    origin,
    ...(cache && {
      prompt_tokens: cache.promptTokens,
      gpu_tokens: cache.gpuTokens,
      lower_tokens: cache.lowerTokens,
      predicted_tokens: cache.predictedTokens,
      block_size: cache.blockSize,
      mode: cache.mode,
    }),
  })
  // Headers hold latin1 at best. Control characters are escaped by JSON itself, but for DEL.
  return json.replace(/[^\x20-\x7e]/g, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

/** Reads a hint of either place, as an engine would; undefined for whatever is none. Never throws. */
export function readHint(json: string | Uint8Array | undefined): PrefillHint | undefined {
  if (json === undefined || json.length > MAX_HINT) return undefined
  const value = parsedJson(typeof json === 'string' ? Buffer.from(json) : json)
  const pod = fieldIn(value, 'pod')
  const origin = fieldIn(value, 'origin')
  if (fieldIn(value, 'version') !== VERSION || typeof pod !== 'string' || typeof origin !== 'string')
    return undefined
  const cache = cacheIn(value)
  return cache === undefined ? { pod, origin } : { pod, origin, cache }
}

function cacheIn(value: unknown): CacheHint | undefined {
  const mode = CACHE_MODES.find(name => name === fieldIn(value, 'mode'))
  const names = ['prompt_tokens', 'gpu_tokens', 'lower_tokens', 'predicted_tokens', 'block_size']
  const [promptTokens, gpuTokens, lowerTokens, predictedTokens, blockSize] = names.map(name =>
    tokens(value, name),
  )
  if (
    mode === undefined ||
    promptTokens === undefined ||
    gpuTokens === undefined ||
    lowerTokens === undefined ||
    predictedTokens === undefined ||
    blockSize === undefined
  ) {
    return undefined
  }
  return { promptTokens, gpuTokens, lowerTokens, predictedTokens, blockSize, mode }
}

function tokens(value: unknown, name: string): number | undefined {
  const found = fieldIn(value, name)
  return typeof found === 'number' && Number.isInteger(found) && found >= 0 && found < 2 ** 32
    ? found
    : undefined
}

/** @throws PhylloError internal_error if the body is no JSON object */
export const genericPrefillBody = (body: Body, kind: BodyKind): Buffer =>
  editBody(body, cleanedWith(...prefillEdits(kind)))

/**
 * The client's body, with the hint if it is to go there: an engine that refuses unknown fields gets it as a header only.
 *
 * @throws PhylloError internal_error if the body is no JSON object
 */
export const genericDecodeBody = (body: Body, hint: PrefillHint | undefined): Buffer =>
  editBody(body, cleanedWith(...(hint === undefined ? [] : [set(HINT_FIELD, writeHint(hint))])))

/** The headers (name in lower case, value, …) of the decode request. */
export const genericDecodeHeaders = (headers: readonly string[], hint: PrefillHint): string[] => [
  ...withoutClientHeaders(headers),
  HINT_HEADER,
  writeHint(hint),
]
