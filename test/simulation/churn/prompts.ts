/** Conversations that both sides of the churn test know, so that they need not be sent about. */
import { blockKeys } from '#phyllo/simulation/engine/block-keys.js'

export const BLOCK_SIZE = 16
export const CONVERSATIONS = 300
/** Conversations that begin alike: a third of their blocks is shared by ten. */
const FAMILIES = 30
const SHARED_BLOCKS = 12
const BLOCKS = 36

/** Token ids of a whole conversation; requests ask for some beginning of it. */
export function conversation(index: number): Uint32Array {
  const family = index % FAMILIES
  return Uint32Array.from({ length: BLOCKS * BLOCK_SIZE }, (_, at) =>
    at < SHARED_BLOCKS * BLOCK_SIZE ? family * 1000 + at : 1_000_000 + index * 1000 + at,
  )
}

/** The engine model's names of a conversation's blocks. */
export const keysOf = (index: number): Float64Array => blockKeys(conversation(index), BLOCK_SIZE)
