/**
 * The generic two-step: the prompt goes to a prefill engine, waits for its end, and goes to a decode engine with the
 * router's hint at who has computed it (`x-phyllo-cache-hint`, or the body's `phyllo_cache_hint`). The decode engine asks
 * that one what it holds. A hint pins nothing and may be used any number of times; one that is malformed, of another
 * version, of an engine that is gone or has evicted the blocks costs a cache miss, never a failed request.
 */
import { z } from 'zod'
import { HINT_FIELD, HINT_HEADER } from '../../../execution/hand-off/client-fields.js'
import { readHint } from '../../../execution/hand-off/generic.js'
import type { Call } from '../call.js'
import type { Rank } from '../rank.js'
import type { Arrival, Connector, KvAddress, Leg, LegRequest, Piece } from './connector.js'
import { digestOf, type HandOffContext } from './context.js'
import { askWithin, move } from './pull.js'
import { baseUrl, openSideChannel, type SideChannel } from './side-channel.js'

const hinted = z.looseObject({ [HINT_FIELD]: z.unknown() })
/** What any simulated engine tells of its hand-offs. */
const holder = z.object({
  kvConnector: z.literal('generic'),
  engineId: z.string(),
  address: z.object({ host: z.string(), port: z.number().int() }),
})
const prefixBody = z.object({
  engine: z.string(),
  blockSize: z.number(),
  keys: z.array(z.number()),
  promptTokens: z.number(),
  digest: z.number(),
})
const prefixAnswer = z.object({ tokens: z.number().int().min(0), cachedTokens: z.number().int().min(0) })

/** Prefills whose cached tokens are remembered: hours of a busy engine, in a hundred KiB. */
const MOST_REMEMBERED = 4096

export async function openGeneric(context: HandOffContext, ranks: readonly Rank[]): Promise<Connector> {
  const { options, engineId, counts } = context
  const prefills = new Prefills()
  const channel = await openSideChannel(options, {
    'POST /prefix': body => {
      const { engine, blockSize, keys, promptTokens, digest } = prefixBody.parse(body)
      if (engine !== engineId) return { status: 409, body: { reason: 'is of another engine' } }
      if (blockSize !== options.blockSize)
        return { status: 409, body: { reason: 'has blocks of another size' } }
      const cached = ranks.map(rank => rank.engine.cachedTokens(Float64Array.from(keys), promptTokens))
      const tokens = Math.max(0, ...cached)
      if (tokens > 0) counts.pulled++
      return { status: 200, body: { tokens, cachedTokens: prefills.cachedTokens(digest) } }
    },
  })
  return new Generic(context, channel, prefills)
}

/** What each prompt found cached when it was computed, which is what the client's usage is about. */
class Prefills {
  private readonly byDigest = new Map<number, number>()

  note(digest: number, cachedTokens: number): void {
    this.byDigest.delete(digest)
    this.byDigest.set(digest, cachedTokens)
    const [oldest] = this.byDigest.keys()
    if (this.byDigest.size > MOST_REMEMBERED && oldest !== undefined) this.byDigest.delete(oldest)
  }

  cachedTokens(digest: number): number {
    return this.byDigest.get(digest) ?? 0
  }
}

const NO_PROMPT = new Uint32Array(0)

class Generic implements Connector {
  readonly address: KvAddress

  constructor(
    private readonly context: HandOffContext,
    private readonly channel: SideChannel,
    private readonly prefills: Prefills,
  ) {
    this.address = channel.address
  }

  open({ call, rank, pieces }: LegRequest): Leg | null {
    const { role } = this.context.options
    const hint = role === 'prefill' ? undefined : hintOf(call)
    if (hint === undefined) return role === 'decode' ? null : this.prefill(pieces)
    const gone = new AbortController()
    return {
      arrive: () => Promise.all(pieces.map(piece => this.fetch(hint, rank, piece, gone.signal))),
      abort: () => gone.abort(),
    }
  }

  close(): Promise<void> {
    return this.channel.close()
  }

  private prefill(pieces: readonly Piece[]): Leg {
    const noted = new Set<number>()
    return {
      finished: (at, { cachedTokens, release }) => {
        const digest = digestOf(pieces[at]?.prompt ?? NO_PROMPT)
        // Of several answers to a prompt, the later ones find what the first has computed.
        if (!noted.has(digest)) this.prefills.note(digest, cachedTokens)
        noted.add(digest)
        this.context.counts.made++
        release()
      },
    }
  }

  private async fetch(hint: string, rank: Rank, piece: Piece, gone: AbortSignal): Promise<Arrival> {
    const promptTokens = piece.prompt.length
    try {
      const { blockSize } = this.context.options
      const { address, engineId: engine } = await this.holderOf(hint, gone)
      const keys = Array.from(piece.keys.subarray(0, Math.floor(promptTokens / blockSize)))
      const body = { engine, blockSize, keys, promptTokens, digest: digestOf(piece.prompt) }
      const answer = await askWithin(this.context, `${baseUrl(address)}/prefix`, body, gone)
      const { tokens, cachedTokens } = prefixAnswer.parse(answer)
      const here = rank.engine.cachedTokens(piece.keys, promptTokens)
      if (tokens > here) {
        await move(this.context, tokens - here, gone)
        this.context.counts.received++
      } else if (tokens === 0) this.context.counts.missed++
      return { tokens, cachedTokens: Math.max(cachedTokens, here) }
    } catch (error) {
      if (gone.aborted) throw error
      this.context.counts.missed++
      return { tokens: 0 }
    }
  }

  /** The hint names an engine by where it is; that one says where its blocks can be asked for. */
  private async holderOf(text: string, gone: AbortSignal): Promise<z.output<typeof holder>> {
    const hint = readHint(text)
    if (hint === undefined) throw new Error('no hint')
    return holder.parse(await askWithin(this.context, `${hint.origin}/sim/hand-offs`, null, gone))
  }
}

/** The hint's text, of the header or the body, whatever it is; undefined: there is none. */
function hintOf(call: Call): string | undefined {
  const header = call.exchange.header(HINT_HEADER)
  if (header !== undefined) return header
  const field = hinted.safeParse(call.fields()).data?.[HINT_FIELD] ?? null
  return field === null ? undefined : JSON.stringify(field)
}
