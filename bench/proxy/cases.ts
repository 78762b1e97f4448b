/** What is asked of the routers. */
import type { Prompts } from './prompts.js'

export interface Case {
  readonly name: string
  /** Which Phyllo serves it. */
  readonly profile: 'least-request' | 'cache-aware'
  /** Are the rivals asked too? */
  readonly rivals: boolean
  readonly connections: number
  /** Requests of a run: one to two seconds of CPU time, since the kernel counts it in steps of 10 ms. */
  readonly requests: number
  /** Bodies of the next run, used in turn. */
  bodies(requests: number): readonly string[]
}

const chat = (question: string, extra: object): readonly string[] => [
  JSON.stringify({
    model: 'bench',
    messages: [
      { role: 'system', content: 'You are a helpful assistant.' },
      { role: 'user', content: question },
    ],
    ...extra,
  }),
]
const small = chat('Hello, how are you?', { max_tokens: 64 })
const burst = chat('Hello, how are you?', { stream: true })
/** By these words the engine knows that the stream is to be paced. */
const paced = chat('How are you? Take your time.', { stream: true })

/** Prompts that come again and again: few enough that each is known after the warm-up. */
const KNOWN = 64

export function cases(prompts: Prompts): readonly Case[] {
  const known = prompts.take(KNOWN)
  const forAll = { profile: 'least-request', rivals: true, connections: 32 } as const
  const long = { rivals: false, connections: 16 } as const
  return [
    { ...forAll, name: 'small chat', requests: 20_000, bodies: () => small },
    { ...forAll, name: '50-chunk stream, burst', requests: 6_000, bodies: () => burst },
    { ...forAll, name: '50-chunk stream, paced', requests: 1_200, bodies: () => paced },
    {
      ...long,
      profile: 'least-request',
      name: '2,000 tokens, least-request',
      requests: 12_000,
      bodies: () => known,
    },
    {
      ...long,
      profile: 'cache-aware',
      name: '2,000 tokens, cache-aware, first seen',
      requests: 800,
      bodies: requests => prompts.take(requests),
    },
    {
      ...long,
      profile: 'cache-aware',
      name: '2,000 tokens, cache-aware, seen again',
      requests: 2_000,
      bodies: () => known,
    },
  ]
}
