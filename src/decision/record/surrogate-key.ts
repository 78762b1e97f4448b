/**
 * A text with a given hash. A log holds keys as 32-bit hashes, and plugins want texts: whatever they make of a key by
 * `hashText` comes out the same for any text of the same hash, so that each plugin runs as it is.
 *
 * FNV-1a goes backwards, byte by byte, and MurmurHash3's finaliser undoes itself by the inverse multipliers: three
 * letters forward from the start are 64^3 states, a few backward from the wanted hash soon meet one (one of 16,384
 * triples on average, as 64^3 of 2^32 states are known).
 */

const LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const OFFSET = 0x811c9dc5
const PRIME = 0x01000193
/** PRIME times this is 1 modulo 2^32; likewise those of the finaliser. */
const PRIME_INVERSE = 0x359c449b
const FIRST_INVERSE = 0xa5cb9243
const SECOND_INVERSE = 0x7ed1b41d

/** Keys remembered: some 10 MB of them. */
const MOST_KNOWN = 100_000

const codes = Uint8Array.from(LETTERS, letter => letter.charCodeAt(0))

export class SurrogateKeys {
  readonly #known = new Map<number, string>()
  #heads: Heads | undefined

  /** Always the same text for the same hash. */
  of(hash: number): string {
    const known = this.#known.get(hash)
    if (known !== undefined) return known
    if (this.#known.size >= MOST_KNOWN) this.#known.clear()
    this.#heads ??= new Heads()
    const key = find(this.#heads, unmixed(hash))
    this.#known.set(hash, key)
    return key
  }
}

function find(heads: Heads, wanted: number): string {
  for (const d of codes) {
    const before = back(wanted, d)
    for (const c of codes) {
      const earlier = back(before, c)
      for (const b of codes) {
        const middle = back(earlier, b)
        for (const a of codes) {
          const head = heads.find(back(middle, a))
          if (head >= 0) return headText(head) + String.fromCharCode(a, b, c, d)
        }
      }
    }
  }
  // 64^7 texts for 2^32 hashes: the chance that none fits is e^-1024.
  throw new Error(`no text leads to the state ${wanted}`)
}

const SLOTS = 2 ** 20
const SHIFT = 32 - 20

/** The states after three letters, in a hash table that is a quarter full: a look-up is mostly one empty place. */
class Heads {
  readonly #states = new Uint32Array(SLOTS)
  /** Number of the letters, and 1; 0: an empty place. */
  readonly #letters = new Uint32Array(SLOTS)

  constructor() {
    for (let head = 0; head < 64 ** 3; head++) {
      let state = OFFSET
      for (const code of headCodes(head)) state = Math.imul(state ^ code, PRIME)
      this.#add(state >>> 0, head)
    }
  }

  /** -1: no three letters lead there. */
  find(state: number): number {
    let at = placeOf(state)
    for (let letters = this.#letters[at] ?? 0; letters !== 0; letters = this.#letters[at] ?? 0) {
      if (this.#states[at] === state) return letters - 1
      at = (at + 1) % SLOTS
    }
    return -1
  }

  #add(state: number, head: number): void {
    let at = placeOf(state)
    while (this.#letters[at] !== 0) at = (at + 1) % SLOTS
    this.#states[at] = state
    this.#letters[at] = head + 1
  }
}

const placeOf = (state: number): number => Math.imul(state, 0x9e3779b1) >>> SHIFT

const headCodes = (head: number): [number, number, number] => [
  codes[head >>> 12] ?? 0,
  codes[(head >>> 6) & 63] ?? 0,
  codes[head & 63] ?? 0,
]
const headText = (head: number): string => String.fromCharCode(...headCodes(head))

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
