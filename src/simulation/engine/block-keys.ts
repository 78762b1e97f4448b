/** Names of KV blocks: each stands for its own tokens and all before it, so equal names mean equal prefixes. */

/** 32-bit finaliser of MurmurHash3: every input bit reaches every output bit. */
function mix(value: number): number {
  let h = Math.imul(value ^ (value >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

/**
 * Keys of the full blocks of `tokens`: two 32-bit chains, 53 bits of which become one exact double, so that a `Map`
 * takes it as it is. 100,000 blocks collide with odds of 1 in 2 million (n²/2⁵⁴); an engine model can live with that,
 * the router's own index uses 64 bits. `root` tells caches apart that must not share: LoRA adapter, cache salt.
 */
export function blockKeys(tokens: Uint32Array, blockSize: number, root = ''): Float64Array {
  const keys = new Float64Array(Math.floor(tokens.length / blockSize))
  let a = 0x9e3779b9
  let b = 0x7f4a7c15
  for (let i = 0; i < root.length; i++) {
    a = Math.imul(a ^ root.charCodeAt(i), 0x01000193)
    b = Math.imul(b ^ root.charCodeAt(i), 0x85ebca6b) + 1
  }
  for (let block = 0, at = 0; block < keys.length; block++) {
    for (const end = at + blockSize; at < end; at++) {
      const token = tokens[at] ?? 0
      a = Math.imul(a ^ token, 0x9e3779b1)
      a ^= a >>> 15
      b = Math.imul((b << 13) | (b >>> 19), 5) + Math.imul(token ^ 0x5bd1e995, 0x85ebca77)
    }
    a = mix(a)
    b = mix(b)
    keys[block] = a * 0x20_0000 + (b >>> 11)
  }
  return keys
}
