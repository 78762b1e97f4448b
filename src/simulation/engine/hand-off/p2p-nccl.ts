/**
 * vLLM's P2pNcclConnector: both legs have the same X-Request-Id, which names both engines; the prefill pushes its
 * blocks to the decode engine it finds there, and the decode engine waits for them. After p2p_nccl_connector.py of
 * vLLM 0.22 (source); 0.32 has it no more.
 *
 * Stricter than vLLM: an id that names another engine than this one in its place is refused, where vLLM would push
 * to whatever stands there; one without addresses gets 400, where vLLM's engine dies of it; and a decode waits no
 * longer than its time-out, where vLLM waits for ever.
 */
import { z } from 'zod'
import type { Arrival, Connector, KvAddress, Leg, LegRequest, Piece, PieceEnd } from './connector.js'
import { digestOf, failed, type HandOffContext, malformed, requireNoPromptLogprobs } from './context.js'
import { newCounts } from './counters.js'
import { type Offer, OfferError, Offers } from './offers.js'
import { kvTimeoutMs } from './options.js'
import { move } from './pull.js'
import { ask, openSideChannel, type SideChannel } from './side-channel.js'

const HEADER = 'X-Request-Id'
const FORM = /^___prefill_addr_(.+:\d+)___decode_addr_(.+:\d+)_([0-9a-fA-F-]+)$/
const pushBody = z.object({
  key: z.string(),
  tokens: z.number().int().positive(),
  cachedTokens: z.number().int().min(0),
  digest: z.number(),
  engine: z.string(),
})

export async function openP2pNccl(context: HandOffContext): Promise<Connector> {
  // What has been pushed and not been asked for yet; not this engine's own hand-offs, so it counts apart.
  const inbox = new Offers(kvTimeoutMs(context.options), newCounts(), context.timing)
  const channel = await openSideChannel(context.options, {
    'POST /push': body => {
      const { key, ...offer } = pushBody.parse(body)
      inbox.offer(key, offer, () => undefined)
      return { status: 200, body: {} }
    },
  })
  return new P2pNccl(context, inbox, channel)
}

class P2pNccl implements Connector {
  readonly address: KvAddress
  private readonly closing = new AbortController()

  constructor(
    private readonly context: HandOffContext,
    private readonly inbox: Offers,
    private readonly channel: SideChannel,
  ) {
    this.address = channel.address
  }

  open(request: LegRequest): Leg {
    const id = request.call.exchange.header('x-request-id') ?? ''
    const [, prefill, decode] = FORM.exec(id) ?? []
    if (prefill === undefined || decode === undefined) {
      const form = '___prefill_addr_HOST:PORT___decode_addr_HOST:PORT_UUID'
      throw malformed(this.context, `${HEADER} must be ${form}, not ${JSON.stringify(id)}`, HEADER)
    }
    const { role } = this.context.options
    const own = `${this.address.host}:${this.address.port}`
    const named = role === 'prefill' ? prefill : decode
    if (named !== own)
      throw malformed(this.context, `${HEADER} names ${named} as ${role} engine, and this is ${own}`, HEADER)
    return role === 'prefill' ? this.prefill(request, id, decode) : this.decode(request, id)
  }

  async close(): Promise<void> {
    this.closing.abort()
    this.inbox.close()
    await this.channel.close()
  }

  private prefill({ pieces }: LegRequest, id: string, decode: string): Leg {
    return {
      holds: true,
      finished: (at, end) => {
        const piece = pieces[at]
        if (piece === undefined) end.release()
        else void this.push(`${id}#${at}`, decode, piece, end)
      },
    }
  }

  /** vLLM's prefill answers before its push has arrived, and whether or not it does. */
  private async push(key: string, decode: string, piece: Piece, end: PieceEnd): Promise<void> {
    const { counts, engineId: engine } = this.context
    const { tokens, cachedTokens } = end
    counts.made++
    counts.live++
    const body = { key, tokens, cachedTokens, digest: digestOf(piece.prompt), engine }
    const isTaken = await ask(`http://${decode}/push`, body, this.closing.signal).then(
      ({ status }) => status === 200,
      () => false,
    )
    counts.live--
    counts[isTaken ? 'pulled' : 'abandoned']++
    end.release()
  }

  private decode({ call, rank, pieces }: LegRequest, id: string): Leg {
    requireNoPromptLogprobs(this.context, call)
    const gone = new AbortController()
    const receive = async (piece: Piece, at: number): Promise<Arrival> => {
      const key = `${id}#${at}`
      const offer = await this.awaitPush(key, piece, gone.signal)
      const here = rank.engine.cachedTokens(piece.keys, piece.prompt.length)
      await move(this.context, Math.max(0, offer.tokens - here), gone.signal)
      this.inbox.done(key, true)
      this.context.counts.received++
      return { tokens: offer.tokens, cachedTokens: offer.cachedTokens }
    }
    return { arrive: () => Promise.all(pieces.map(receive)), abort: () => gone.abort() }
  }

  private async awaitPush(key: string, piece: Piece, gone: AbortSignal): Promise<Offer> {
    const late = new AbortController()
    const limitMs = kvTimeoutMs(this.context.options)
    const cancel = this.context.timing.after(limitMs, () => late.abort())
    const signal = AbortSignal.any([gone, late.signal])
    return this.inbox
      .claim(key, digestOf(piece.prompt), true, signal)
      .catch((error: unknown) => {
        if (gone.aborted || !(error instanceof OfferError)) throw error
        const why = late.signal.aborted ? `did not come within ${limitMs / 1000} s` : error.message
        throw failed(this.context, `KV blocks of request ${key} ${why}`)
      })
      .finally(cancel)
  }
}
