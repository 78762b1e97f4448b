/**
 * A text with a given hash. A log holds keys as 32-bit hashes, and plugins want texts: whatever they make of a key by
 * `hashText` comes out the same for any text of the same hash, so that each plugin runs as it is.
 *
 * FNV-1a goes backwards, byte by byte, and MurmurHash3's finaliser undoes itself by the inverse multipliers: three
 * letters forward from the start are 64^3 states, a few backward from the wanted hash soon meet one (one of 16,384
 * triples on average, as 64^3 of 2^32 states are known).
 */
import { hashText } from './../hash.js'

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const PRIME = 0x01000193
/** PRIME times this is 1 modulo 2^32; likewise those of the finaliser. */
const PRIME_INVERSE = 0x359c449b
const FIRST_INVERSE = 0xa5cb9243
const SECOND_INVERSE = 0x7ed1b41d

const codes = Array.from(LETTERS, letter => letter.charCodeAt(0))

export class SurrogateKeys {
  readonly #known = new Map<number, string>()
  /** State after three letters → the letters. */
  #heads: Map<number, string> | undefined

  /** Always the same text for the same hash. */
  of(hash: number): string {
    const known = this.#known.get(hash)
    if (known !== undefined) return known
    const key = this.#find(hash)
    this.#known.set(hash, key)
    return key
  }

  #find(hash: number): string {
    this.#heads ??= threeLetters()
    const wanted = unmixed(hash)
    for (const d of codes) {
      const before = back(wanted, d)
      for (const c of codes) {
        const earlier = back(before, c)
        for (const b of codes) {
          const middle = back(earlier, b)
          for (const a of codes) {
            const head = this.#heads.get(back(middle, a))
            if (head !== undefined) return head + String.fromCharCode(a, b, c, d)
          }
        }
      }
    }
    // 64^7 texts for 2^32 hashes: the chance that none fits is e^-1024.
    throw new Error(`no text has the hash ${hash}`)
  }
}

function threeLetters(): Map<number, string> {
  const heads = new Map<number, string>()
  for (const a of codes)
    for (const b of codes)
      for (const c of codes) {
        let state = 0x811c9dc5
        for (const code of [a, b, c]) state = Math.imul(state ^ code, PRIME)
        heads.set(state >>> 0, String.fromCharCode(a, b, c))
      }
  return heads
}

/** The state before this byte was taken in. */
const back = (state: number, code: number): number => (Math.imul(state, PRIME_INVERSE) ^ code) >>> 0

/** What `mix32` made this of. */
function unmixed(hash: number): number {
  let h = hash ^ (hash >>> 16)
  h = Math.imul(h, SECOND_INVERSE)
  h ^= (h >>> 13) ^ (h >>> 26)
  h = Math.imul(h, FIRST_INVERSE)
  return (h ^ (h >>> 16)) >>> 0
}

/** Whether a text has the hash; for tests of the above. */
export const hasHash = (text: string, hash: number): boolean => hashText(text) === hash
