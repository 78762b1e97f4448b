/** A small seeded generator (mulberry32): the same seed gives the same answers, on any machine. */
export type Random = () => number

/** Numbers in [0, 1). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A copy in random order (Fisher-Yates). */
export function shuffled<T>(items: readonly T[], random: Random): T[] {
  const result = [...items]
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1))
    const [a, b] = [result[i], result[j]]
    if (a === undefined || b === undefined) continue
    result[i] = b
    result[j] = a
  }
  return result
}

/** FNV-1a over 32-bit words. */
export function seedOf(words: Uint32Array, salt = 0): number {
  let hash = (0x811c9dc5 ^ salt) >>> 0
  for (const word of words) hash = Math.imul(hash ^ word, 0x01000193) >>> 0
  return hash
}

/** FNV-1a over a text's UTF-16 units. */
export function textSeed(text: string, salt = 0): number {
  let hash = (0x811c9dc5 ^ salt) >>> 0
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0
  return hash
}
