/** The prefix index on its own, for whoever builds something else on it than this router. */
import { loadNative, type PrefixIndex } from './native.js'

export type { PrefixIndex } from './native.js'

/** An index of the prefixes that up to 64, 256 or 1,024 pods hold. Throws for any other width. */
export function createPrefixIndex(width: 64 | 256 | 1024): PrefixIndex {
  return new (loadNative().PrefixIndex)(width)
}

/**
 * Cumulative hashes of the full blocks of a prompt, as the router computes them: the n-th stands for all tokens up to
 * the end of the n-th block. `root` tells apart what must not share blocks: model, LoRA adapter, salt.
 */
export function hashTokens(tokens: Uint32Array, blockSize: number, root: string): BigUint64Array {
  return loadNative().hashBlocks(tokens, blockSize, root)
}
