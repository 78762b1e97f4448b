/** Reading another engine's blocks: claim them, take the time that their bytes take, say that it is done. */
import { z } from 'zod'
import { kvBytesPerToken, llama8b } from '../parameters.js'
import type { Rank } from '../rank.js'
import type { Arrival, Piece } from './connector.js'
import { digestOf, type HandOffContext, pause } from './context.js'
import { kvTimeoutMs } from './options.js'
import { ask } from './side-channel.js'

/** Why nothing came, in words that follow "hand-off KEY ". */
export class PullError extends Error {
  override readonly name = 'PullError'
}

const offerBody = z.object({ tokens: z.number(), cachedTokens: z.number(), engine: z.string() })
const refusal = z.object({ reason: z.string() })

export interface PullRequest {
  /** The side channel of the engine that holds the blocks: `http://host:port`. */
  readonly url: string
  readonly key: string
  /** The engine that must have made it. */
  readonly engine?: string | undefined
  readonly rank: Rank
  readonly piece: Piece
  /** Fires if the client goes away. */
  readonly gone: AbortSignal
}

/** Milliseconds that the bytes of so many tokens take on the wire. */
export const transferMs = (tokens: number, gigabitsPerSecond: number): number =>
  (tokens * kvBytesPerToken(llama8b) * 8) / (gigabitsPerSecond * 1e6)

/**
 * Pulls the blocks of a hand-off. Rejects with a PullError that says why they can't be had, after the connector's
 * time-out at the latest; the engine that holds them is told in any case that nobody will read them any more.
 */
export async function pull(context: HandOffContext, request: PullRequest): Promise<Arrival> {
  const { url, key, engine, rank, piece, gone } = request
  const claim = { key, digest: digestOf(piece.prompt), ...(engine === undefined ? {} : { engine }) }
  const done = (isRead: boolean): Promise<unknown> =>
    // Without the client's signal: that it has gone is no reason to leave the blocks to their time-out.
    askWithin(context, `${url}/done`, { key, isRead }, new AbortController().signal)
  try {
    const told = offerBody.parse(await askWithin(context, `${url}/claim`, claim, gone))
    const missing = told.tokens - rank.engine.cachedTokens(piece.keys, piece.prompt.length)
    await move(context, Math.max(0, missing), gone)
    await done(true)
    context.counts.received++
    return { tokens: told.tokens, cachedTokens: told.cachedTokens }
  } catch (error) {
    // Nobody knows how far the claim has come: if it holds nothing, this changes nothing.
    if (gone.aborted) await done(false).catch(() => undefined)
    throw error
  }
}

/** Takes as long as the bytes of so many tokens take. */
export async function move(context: HandOffContext, tokens: number, gone: AbortSignal): Promise<void> {
  const { options, counts, timing } = context
  const ms = transferMs(tokens, options.kvBandwidth)
  await pause(timing, ms / options.speed, gone)
  counts.bytes += tokens * kvBytesPerToken(llama8b)
  counts.transferMs += ms
}

/** The other engine's answer. Rejects with a PullError if it refuses, can't be reached or takes too long. */
export async function askWithin(
  context: HandOffContext,
  url: string,
  body: object | null,
  gone: AbortSignal,
): Promise<unknown> {
  const limitMs = kvTimeoutMs(context.options)
  const late = new AbortController()
  const cancel = context.timing.after(limitMs, () => late.abort())
  const reply = await ask(url, body, AbortSignal.any([gone, late.signal]))
    .catch((error: unknown) => {
      if (gone.aborted) throw error
      if (late.signal.aborted) throw new PullError(`did not come within ${limitMs / 1000} s`)
      const reason = error instanceof Error ? error.message : String(error)
      throw new PullError(`can't be had: ${url} does not answer (${reason})`)
    })
    .finally(cancel)
  if (reply.status === 200) return reply.body
  const why = refusal.safeParse(reply.body)
  throw new PullError(why.success ? why.data.reason : `can't be had: ${url} answers ${reply.status}`)
}
