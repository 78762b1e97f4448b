/**
 * Shared prefixes made to measure: groups of prompts that begin alike. Each prompt may be the first turn of a
 * conversation, whose later turns hold all that was said before. Conversations begin at random (Poisson), groups mixed.
 */
import { z } from 'zod'
import { seededRandom, shuffled } from '../engine/random.js'
import { type Span, SpanPrompt } from '../virtual/span-prompt.js'
import type { VirtualRequest, Workload } from '../virtual/workload.js'
import { about, exponential } from './draws.js'

const tokens = (fallback: number, text: string) =>
  z.int().min(0).max(10_000_000).default(fallback).describe(`${text}, in tokens.`)
const count = (fallback: number, most: number, text: string) =>
  z.int().min(1).max(most).default(fallback).describe(text)

/** Defaults: a few applications with a system prompt of a page or three each, and short questions. */
export const syntheticSchema = z.strictObject({
  groups: count(16, 1_000_000, 'Different shared prefixes.'),
  prompts: count(50, 10_000_000, 'Conversations of each group.'),
  prefix: tokens(2048, 'Length of a shared prefix'),
  suffix: tokens(256, 'Length of what a turn adds to it'),
  output: tokens(128, 'Length of an answer'),
  turns: count(1, 10_000, 'Turns of a conversation.'),
  // Half of the mean on both sides: lengths that are all alike would march in step.
  spread: z
    .number()
    .min(0)
    .max(1)
    .default(0.5)
    .describe('Lengths of turns and answers lie within this part of the mean on both sides, uniformly.'),
})
export type SyntheticOptions = z.output<typeof syntheticSchema>

/** When requests come. */
export interface SyntheticTimes {
  /** Requests per second: conversations begin at this rate over the turns of one. */
  readonly rate: number
  /** Mean time between an answer and the next turn, ms. */
  readonly thinkMs: number
  readonly seed: number
  /** Most requests. */
  readonly limit: number
}

export function syntheticWorkload(options: SyntheticOptions, times: SyntheticTimes): Workload {
  const { groups, prompts, prefix, suffix, output, turns, spread } = options
  const random = seededRandom(times.seed)
  const order = shuffled(
    Array.from({ length: groups * prompts }, (_, at) => at % groups),
    random,
  )
  const meanGapMs = (1000 * turns) / times.rate
  const requests: VirtualRequest[] = []
  let startMs = 0
  // Numbers below `groups` are the prefixes'.
  let nextId = groups
  for (const [conversation, group] of order.entries()) {
    if (requests.length >= times.limit) break
    startMs += exponential(random, meanGapMs)
    let said: Span[] = prefix === 0 ? [] : [{ id: group, tokens: prefix }]
    for (let turn = 0; turn < turns; turn++) {
      const prompt = [...said, { id: nextId++, tokens: about(random, suffix, spread) }]
      const answer = { id: nextId++, tokens: about(random, output, spread) }
      requests.push({
        atMs: turn === 0 ? startMs : 0,
        after: turn === 0 ? null : requests.length - 1,
        thinkMs: turn === 0 ? 0 : exponential(random, times.thinkMs),
        session: `conversation-${conversation}`,
        prompt: new SpanPrompt(prompt, answer),
        outputTokens: answer.tokens,
      })
      said = [...prompt, answer]
    }
  }
  return { name: 'synthetic', requests: requests.slice(0, times.limit), modelDir: null }
}
