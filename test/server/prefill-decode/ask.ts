/** What a client of these tests sends, and what it makes of the answer. */
import { z } from 'zod'
import { events } from '../../simulation/kit.js'

const usage = z.looseObject({
  prompt_tokens: z.number(),
  completion_tokens: z.number(),
  prompt_tokens_details: z.looseObject({ cached_tokens: z.number() }).nullish(),
})

const choice = z.looseObject({
  index: z.number(),
  text: z.string().optional(),
  message: z.looseObject({ content: z.string().nullish() }).optional(),
  delta: z.looseObject({ content: z.string().nullish() }).optional(),
  finish_reason: z.string().nullish(),
})

const answerBody = z.looseObject({ choices: z.array(choice).default([]), usage: usage.nullish() })
export type ApiAnswer = z.infer<typeof answerBody>

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
  readonly json: unknown
}

export const pathOf = (body: object): string =>
  'prompt' in body ? '/v1/completions' : '/v1/chat/completions'

/** One request, read to its end. */
export async function ask(url: string, body: object, headers: Record<string, string> = {}): Promise<Answer> {
  const answer = await fetch(`${url}${pathOf(body)}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  })
  const text = await answer.text()
  return { status: answer.status, headers: answer.headers, text, json: jsonOf(text) }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** What an answer says, whichever way it came. */
export interface Said {
  readonly status: number
  /** Text of each choice. */
  readonly texts: readonly string[]
  readonly usage: z.infer<typeof usage> | undefined
  /** Finish reasons of each choice. */
  readonly ends: readonly (string | undefined)[]
}

/** What is said; throws for what is no answer. */
export async function said(url: string, body: object, headers: Record<string, string> = {}): Promise<Said> {
  const answer = await ask(url, body, headers)
  if (answer.status !== 200) throw new Error(`status ${answer.status}: ${answer.text}`)
  const isStream = 'stream' in body && body.stream === true
  return { status: answer.status, ...(isStream ? ofStream(answer.text) : ofWhole(answer.json)) }
}

function ofWhole(json: unknown): Omit<Said, 'status'> {
  const { choices, usage } = answerBody.parse(json)
  const sorted = [...choices].sort((a, b) => a.index - b.index)
  return {
    texts: sorted.map(({ text, message }) => text ?? message?.content ?? ''),
    usage: usage ?? undefined,
    ends: sorted.map(({ finish_reason }) => finish_reason ?? undefined),
  }
}

function ofStream(text: string): Omit<Said, 'status'> {
  const all = events(text)
  if (all.at(-1) !== '[DONE]') throw new Error(`a stream without its end: ${text.slice(-300)}`)
  const texts: string[] = []
  const ends: (string | undefined)[] = []
  let counted: z.infer<typeof usage> | undefined
  for (const event of all.slice(0, -1)) {
    const { choices, usage } = answerBody.parse(event)
    counted = usage ?? counted
    for (const { index, text, delta, finish_reason } of choices) {
      texts[index] = (texts[index] ?? '') + (text ?? delta?.content ?? '')
      ends[index] = finish_reason ?? ends[index]
    }
  }
  return { texts, usage: counted, ends }
}

/** The text of a first choice, as far as it came: the pieces of a stream that are events of an answer. */
export function contentOf({ text, json }: Answer, isStream: boolean): string {
  if (!isStream) return ofWhole(json).texts[0] ?? ''
  const pieces = [...text.matchAll(/^data: (\{.*\})$/gm)].map(([, data = '']) =>
    answerBody.parse(JSON.parse(data)),
  )
  const first = pieces.flatMap(({ choices }) => choices.filter(({ index }) => index === 0))
  return first.map(({ text, delta }) => text ?? delta?.content ?? '').join('')
}
