/** The prefill side of protocols whose decode engines pull: offers, and the side-channel routes to read them. */
import { z } from 'zod'
import type { Rank } from '../rank.js'
import type { Piece, PieceEnd } from './connector.js'
import { digestOf, engineIdOf, type HandOffContext } from './context.js'
import { OfferError, Offers } from './offers.js'
import { kvTimeoutMs } from './options.js'
import type { Reply, SideRoute } from './side-channel.js'

const claimBody = z.object({ key: z.string(), digest: z.number(), engine: z.string().optional() })
const doneBody = z.object({ key: z.string(), isRead: z.boolean() })

/** 409: the hand-off is there no more, or never was. */
const refuse = (error: unknown): Reply => {
  if (error instanceof OfferError) return { status: 409, body: { reason: error.message } }
  throw error
}

export class Holder {
  readonly offers: Offers
  readonly routes: Readonly<Record<string, SideRoute>>

  /**
   * @param waits whether a reader may come before the blocks are ready
   * @param knows whether an engine's name is one of this engine's
   */
  constructor(
    private readonly context: HandOffContext,
    waits: boolean,
    knows: (engine: string) => boolean,
  ) {
    this.offers = new Offers(kvTimeoutMs(context.options), context.counts, context.timing)
    this.routes = {
      'POST /claim': (body, gone) => {
        const { key, digest, engine } = claimBody.parse(body)
        if (engine !== undefined && !knows(engine)) {
          return refuse(new OfferError(`is of engine ${engine}, and this is another`))
        }
        return this.offers
          .claim(key, digest, waits, gone)
          .then(offer => ({ status: 200, body: offer }), refuse)
      },
      'POST /done': body => {
        const { key, isRead } = doneBody.parse(body)
        if (this.offers.done(key, isRead)) return { status: 200, body: {} }
        return refuse(new OfferError('has expired meanwhile'))
      },
    }
  }

  /** A finished prefill's blocks are ready under that key. */
  offer(key: string, rank: Rank, piece: Piece, { tokens, cachedTokens, release }: PieceEnd): void {
    const digest = digestOf(piece.prompt)
    this.offers.offer(key, { tokens, cachedTokens, digest, engine: engineIdOf(this.context, rank) }, release)
  }
}
