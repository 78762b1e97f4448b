/**
 * The names by which a simulated engine calls its blocks in events. They are its own, as those of real engines are: the
 * router must find out by the tokens which blocks they stand for.
 */
import type { EngineHash } from './encoder.js'

export const HASH_FORMS = ['int', 'bytes'] as const
/** 64 bits, or a digest of 32 bytes (vLLM with `VLLM_KV_EVENTS_USE_INT_BLOCK_HASHES=0`). */
export type HashForm = (typeof HASH_FORMS)[number]

const MASK = 0xffff_ffff_ffff_ffffn
const GOLDEN = 0x9e37_79b9_7f4a_7c15n

/** One step of SplitMix64: a bijection of 64-bit numbers. */
function mix64(value: bigint): bigint {
  let z = (value + GOLDEN) & MASK
  z = ((z ^ (z >> 30n)) * 0xbf58_476d_1ce4_e5b9n) & MASK
  z = ((z ^ (z >> 27n)) * 0x94d0_49bb_1331_11ebn) & MASK
  return z ^ (z >> 31n)
}

/**
 * A block's name, from the key of the engine model (`blockKeys`: 53 bits that stand for the tokens, all before them, and
 * the cache's root). Different keys have different names.
 */
export function engineHash(key: number, seed: number, form: HashForm): EngineHash {
  const base = mix64(BigInt(key) ^ (BigInt(seed >>> 0) << 32n))
  if (form === 'int') return base
  const digest = Buffer.alloc(32)
  for (let word = 0, value = base; word < 4; word++, value = mix64(value)) {
    digest.writeBigUInt64LE(value, word * 8)
  }
  return digest
}
