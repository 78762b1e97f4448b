/**
 * One request on two pods, leg by leg, as the recorded pair was driven: the prefill leg without streaming and with one token
 * to write, then the decode leg with the hand-off that the first one answered, verbatim.
 */
import { z } from 'zod'
import type { Engine } from '../engine.js'
import type { Pair } from './fleet.js'

export type Path = '/v1/chat/completions' | '/v1/completions'
export type Body = Readonly<Record<string, unknown>>
/** `kv_transfer_params` of a prefill's answer: opaque to all but the engines. */
export type HandOff = Readonly<Record<string, unknown>>

/** What an answer said, streamed or not. */
export interface Said {
  readonly status: number
  /** The answer's text; an error's whole body. */
  readonly text: string
  readonly finishReason: string | null
  readonly promptTokens: number | undefined
  readonly completionTokens: number | undefined
  readonly cachedTokens: number | undefined
  /** Of a completion with `logprobs`: its tokens. */
  readonly tokens: readonly string[]
  readonly handOff: HandOff | undefined
  /** From sending to the last byte. */
  readonly ms: number
  /** A router's word on which pod answered, and the request's id; null where there is none. */
  readonly pod: string | null
  readonly id: string | null
}

/** Says one request and hears all of its answer: on the two pods by fetch, or through whatever stands before them. */
export type Send = (path: Path, body: Body) => Promise<Said>

const usage = z.object({
  prompt_tokens: z.number(),
  completion_tokens: z.number(),
  prompt_tokens_details: z.object({ cached_tokens: z.number().nullish() }).nullish(),
})

/** An answer or a chunk of one, of either path; errors within a stream have none of these. */
const piece = z.object({
  choices: z
    .array(
      z.object({
        text: z.string().nullish(),
        message: z.object({ content: z.string().nullish() }).nullish(),
        delta: z.object({ content: z.string().nullish() }).nullish(),
        finish_reason: z.string().nullish(),
        logprobs: z.object({ tokens: z.array(z.string()).optional() }).nullish(),
      }),
    )
    .optional(),
  usage: usage.nullish(),
  kv_transfer_params: z.record(z.string(), z.unknown()).nullish(),
  error: z.unknown().optional(),
})

/** One request to one engine. */
export async function say(url: string, path: Path, body: Body, signal?: AbortSignal): Promise<Said> {
  const started = performance.now()
  const headers = { 'content-type': 'application/json' }
  const init = { method: 'POST', headers, body: JSON.stringify(body), signal: signal ?? null }
  const answer = await fetch(`${url}${path}`, init)
  const raw = await answer.text()
  const ms = Math.round(performance.now() - started)
  const pod = answer.headers.get('x-phyllo-pod')
  return { status: answer.status, ms, pod, id: answer.headers.get('x-request-id'), ...heard(answer.ok, raw) }
}

function heard(ok: boolean, raw: string): Omit<Said, 'status' | 'ms' | 'pod' | 'id'> {
  const pieces = ok ? piecesOf(raw).map(part => piece.parse(part)) : []
  const choices = pieces.flatMap(part => part.choices ?? [])
  const texts = choices.map(({ text, message, delta }) => text ?? message?.content ?? delta?.content ?? '')
  const told = pieces.findLast(part => part.usage)?.usage
  const broken = pieces.some(part => part.error !== undefined)
  return {
    text: ok && !broken ? texts.join('') : raw,
    finishReason: choices.findLast(choice => choice.finish_reason)?.finish_reason ?? null,
    promptTokens: told?.prompt_tokens,
    completionTokens: told?.completion_tokens,
    cachedTokens: told?.prompt_tokens_details?.cached_tokens ?? undefined,
    tokens: choices.flatMap(choice => choice.logprobs?.tokens ?? []),
    handOff: pieces.findLast(part => part.kv_transfer_params)?.kv_transfer_params ?? undefined,
  }
}

/** JSON of an answer as one value, of a stream as one per event. */
function piecesOf(raw: string): unknown[] {
  if (!raw.startsWith('data:')) return [JSON.parse(raw)]
  const events = raw.split('\n\n').filter(event => event.startsWith('data: ') && event !== 'data: [DONE]')
  return events.map(event => JSON.parse(event.slice('data: '.length)))
}

/** Asks for a hand-off; all fields are there, as the protocol's own example has them. */
const ASK: HandOff = {
  do_remote_decode: true,
  do_remote_prefill: false,
  remote_engine_id: null,
  remote_block_ids: null,
  remote_host: null,
  remote_port: null,
}

export function prefillLeg({ prefill }: Pair, path: Path, body: Body): Promise<Said> {
  const { stream_options: _, ...rest } = body
  return say(prefill.url, path, { ...rest, stream: false, max_tokens: 1, kv_transfer_params: ASK })
}

export function decodeLeg(
  decode: Engine,
  path: Path,
  body: Body,
  handOff: HandOff,
  signal?: AbortSignal,
): Promise<Said> {
  return say(decode.url, path, { ...body, kv_transfer_params: handOff }, signal)
}

/** The hand-off of a prefill that must succeed. */
export async function handOffOf(pair: Pair, path: Path, body: Body): Promise<HandOff> {
  const { status, text, handOff } = await prefillLeg(pair, path, body)
  if (handOff === undefined) throw new Error(`prefill answers ${status} without a hand-off: ${text}`)
  return handOff
}

/** Both legs by fetch: what a router must do, without one. A prefill's failure is the answer. */
export const sendDirectly =
  (pair: Pair): Send =>
  async (path, body) => {
    const started = performance.now()
    const first = await prefillLeg(pair, path, body)
    if (first.handOff === undefined) return first
    const second = await decodeLeg(pair.decode, path, body, first.handOff)
    return { ...second, ms: Math.round(performance.now() - started) }
  }
