/** What every case is given, and what they ask the engines for. */
import assert from 'node:assert/strict'
import { type Engine, metric, VLLM_MODEL } from '../../engine.js'
import type { Case } from '../../harness.js'
import { BLOCKS, type Pair } from '../fleet.js'
import { type Body, type Path, type Said, type Send, say } from '../legs.js'

export interface Context {
  readonly pair: Pair
  /** One request on both pods: by fetch, leg by leg, or through a router. */
  readonly send: Send
}

export type PairCase = Case<Context>

export const CHAT: Path = '/v1/chat/completions'
export const COMPLETIONS: Path = '/v1/completions'

/** 12 times: some 170 tokens, five whole blocks and a part of one. */
const passage = (times: number): string =>
  'The quick brown fox jumps over the lazy dog near the river bank. '.repeat(times)

/** `tag` comes first, so that no two tags share a block. */
export const completion = (tag: string, more: Body = {}): Body => ({
  ...{ model: VLLM_MODEL, prompt: `${tag} ${passage(12)}`, max_tokens: 12, temperature: 0 },
  ...more,
})

export const chat = (tag: string, more: Body = {}): Body => ({
  model: VLLM_MODEL,
  messages: [{ role: 'user', content: `${tag} ${passage(12)}` }],
  ...{ max_tokens: 12, temperature: 0 },
  ...more,
})

/** What an engine says by itself, without a hand-off. */
export const alone = ({ url }: Engine, path: Path, body: Body): Promise<Said> => say(url, path, body)

/** An answer written to its end, or a failure that shows what came instead. */
export function assertWhole(said: Said): void {
  assert.equal(said.status, 200, said.text)
  assert.equal(said.finishReason, 'length', said.text)
}

export async function resetPrefixCache({ url, name }: Engine): Promise<void> {
  const { ok, status } = await fetch(`${url}/reset_prefix_cache`, { method: 'POST' })
  assert.ok(ok, `${name} answers ${status}`)
}

/** Blocks that a request holds or that wait for a pull; what is merely cached counts as free. */
export const heldBlocks = async (engine: Engine): Promise<number> =>
  Math.round((await metric(engine, 'vllm:kv_cache_usage_perc')) * (BLOCKS - 1))

/** A count by its metric, which an engine brings up to date when it computes something. */
export async function counted(engine: Engine, name: string): Promise<number> {
  assertWhole(await alone(engine, COMPLETIONS, completion('', { prompt: 'Count.', max_tokens: 1 })))
  return metric(engine, name)
}

/** 5,600 tokens of other prompts: each block of the cache is taken by something else. */
export async function overwriteCache(engine: Engine, tag: string): Promise<void> {
  for (let i = 0; i < 6; i++) {
    const said = await alone(engine, COMPLETIONS, completion('', { prompt: `${tag} ${i} ${passage(66)}` }))
    assertWhole(said)
  }
}
