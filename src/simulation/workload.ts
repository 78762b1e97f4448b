/** What a set of conversations asks of caches, whoever routes it. */
import { request } from 'undici'
import { z } from 'zod'
import { type Conversation, turnsOf } from './conversations.js'
import { blockKeys } from './engine/block-keys.js'

export interface Workload {
  readonly conversations: number
  readonly requests: number
  readonly promptTokens: number
  /** Different blocks in all prompts: what a cache must hold to forget nothing. */
  readonly uniqueBlocks: number
  /** Part of the prompt tokens that one cache without limit would hold when they come. */
  readonly idealHitRate: number
}

const tokenized = z.object({ tokens: z.array(z.number()) })

/** Counts with the tokenizer of the engine at `url`. */
export async function measureWorkload(
  url: string,
  model: string,
  conversations: readonly Conversation[],
  blockSize: number,
): Promise<Workload> {
  const seen = new Set<number>()
  let requests = 0
  let promptTokens = 0
  let hits = 0
  for (const turn of conversations.flatMap(turnsOf)) {
    const body = JSON.stringify({ model, messages: turn.messages, add_generation_prompt: true })
    const headers = { 'content-type': 'application/json' }
    const answer = await request(`${url}/tokenize`, { method: 'POST', headers, body })
    const { tokens } = tokenized.parse(await answer.body.json())
    const keys = blockKeys(Uint32Array.from(tokens), blockSize)
    // An engine computes at least the last token, so a block that ends the prompt is never a hit.
    const usable = keys.subarray(0, Math.floor((tokens.length - 1) / blockSize))
    const miss = usable.findIndex(key => !seen.has(key))
    hits += (miss < 0 ? usable.length : miss) * blockSize
    promptTokens += tokens.length
    requests++
    for (const key of keys) seen.add(key)
  }
  const idealHitRate = hits / promptTokens
  return {
    conversations: conversations.length,
    requests,
    promptTokens,
    uniqueBlocks: seen.size,
    idealHitRate,
  }
}
