/**
 * Log probabilities of the prompt: the prefill pod computes them, decode's answer has none. SGLang's own `/generate`
 * tells them in `meta_info.input_token_logprobs`; prefill's go before decode's, as in SGLang's gateway.
 */
import { editBody, elementsOf, fieldOf, isArray, isObject, set } from '../body-edit.js'

const META = 'meta_info'
const LOGPROBS = 'input_token_logprobs'

/**
 * Decode's JSON answer with the prefill's log probabilities; of a batch, element by element. Numbers keep their digits.
 * Where either answer has none, or is no such answer at all, decode's comes back as it is: an answer is never lost to
 * an extra.
 */
export function mergeInputLogprobs(prefill: Uint8Array, decode: Buffer): Buffer {
  try {
    return isArray(decode) ? mergeBatch(prefill, decode) : (mergeOne(prefill, decode) ?? decode)
  } catch {
    return decode
  }
}

function mergeBatch(prefill: Uint8Array, decode: Buffer): Buffer {
  const first = [...elementsOf(prefill)]
  const second = [...elementsOf(decode)]
  if (first.length !== second.length) return decode
  const merged = second.map((answer, i) => mergeOne(first[i] ?? answer, answer) ?? answer)
  const pieces = merged.flatMap((answer, i) => (i === 0 ? [answer] : [Buffer.from(','), answer]))
  return Buffer.concat([Buffer.from('['), ...pieces, Buffer.from(']')])
}

function mergeOne(prefill: Uint8Array, decode: Buffer): Buffer | undefined {
  const meta = fieldOf(decode, META)
  if (meta === undefined || !isObject(meta)) return undefined
  const first = logprobsOf(fieldOf(prefill, META))
  const second = logprobsOf(meta)
  if (first === undefined || second === undefined) return undefined
  const all = Buffer.from(`[${[...elementsOf(first), ...elementsOf(second)].map(String).join(',')}]`)
  return editBody(decode, [set(META, editBody(meta, [set(LOGPROBS, all)]))])
}

function logprobsOf(meta: Buffer | undefined): Buffer | undefined {
  const value = meta !== undefined && isObject(meta) ? fieldOf(meta, LOGPROBS) : undefined
  return value !== undefined && isArray(value) ? value : undefined
}
