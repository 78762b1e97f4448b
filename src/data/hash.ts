/**
 * The hash of ring positions and cursor names: FNV-1a (32 bits) over UTF-8, then MurmurHash3's 32-bit finaliser. Fixed
 * and documented because it is a contract: routers that share a fleet must map a key to the same pod, across processes
 * and versions. FNV-1a alone leaves keys that differ only at the end close together, which the finaliser undoes.
 * What runs on every request takes the words, which are signed: a number beyond 2^31 costs an allocation wherever the
 * compiler leaves a call a call, and where it does is not ours to say.
 * Sources: http://www.isthe.com/chongo/tech/comp/fnv/ and fmix32 of MurmurHash3.cpp (both public domain).
 */

/** FNV-1a of the first `length` bytes, unsigned. */
export function fnv1a(bytes: Uint8Array, length: number): number {
  return fnvWord(bytes, length) >>> 0
}

function fnvWord(bytes: Uint8Array, length: number): number {
  let hash = 0x811c9dc5 | 0
  for (let i = 0; i < length; i++) hash = Math.imul(hash ^ (bytes[i] ?? 0), 0x01000193)
  return hash
}

/** MurmurHash3's finaliser, unsigned. */
export const mix32 = (hash: number): number => mixWord(hash) >>> 0

/** The same, signed. */
export function mixWord(hash: number): number {
  let h = hash ^ (hash >>> 16)
  h = Math.imul(h, 0x85ebca6b)
  h ^= h >>> 13
  h = Math.imul(h, 0xc2b2ae35)
  return h ^ (h >>> 16)
}

const encoder = new TextEncoder()
// UTF-8 takes at most three bytes for a UTF-16 unit; keys are short, so most never leave the scratch.
const scratch = new Uint8Array(768)
const SCRATCH_UNITS = scratch.length / 3

/** `mix32(fnv1a(utf8(text)))`; allocates only for a text of more than 256 UTF-16 units. */
export const hashText = (text: string): number => hashWord(text) >>> 0

/** The same, signed. */
export function hashWord(text: string): number {
  if (text.length > SCRATCH_UNITS) {
    const bytes = encoder.encode(text)
    return mixWord(fnvWord(bytes, bytes.length))
  }
  return mixWord(fnvWord(scratch, encodeScratch(text)))
}

/** ASCII by hand: `encodeInto` answers with an object, and crosses into C++ for what is mostly 30 characters. */
function encodeScratch(text: string): number {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i)
    if (unit > 127) return encoder.encodeInto(text, scratch).written
    scratch[i] = unit
  }
  return text.length
}
