/**
 * The generic two-step: the prompt goes to a prefill engine, waits for its end, and goes to a decode engine with a
 * hint on where its prefix is cached. The hint (`cache_hint`) is opaque to the router: a version and text. It pins
 * nothing and may be used any number of times; a hint that is malformed, of another version, of an engine that is gone
 * or has evicted the blocks costs a cache miss, never a failed request.
 */
import { z } from 'zod'
import type { Rank } from '../rank.js'
import type { Arrival, Connector, KvAddress, Leg, LegRequest, Piece } from './connector.js'
import type { HandOffContext } from './context.js'
import { askWithin, move } from './pull.js'
import { baseUrl, openSideChannel, type SideChannel } from './side-channel.js'

const FIELD = 'cache_hint'
const VERSION = 1
const hinted = z.looseObject({ [FIELD]: z.object({ version: z.literal(VERSION), data: z.string() }) })
const content = z.object({ url: z.url({ protocol: /^http$/ }), engine: z.string(), blockSize: z.number() })
const prefixBody = z.object({ engine: z.string(), keys: z.array(z.number()), promptTokens: z.number() })
const prefixAnswer = z.object({ tokens: z.number().int().min(0) })

export async function openGeneric(context: HandOffContext, ranks: readonly Rank[]): Promise<Connector> {
  const { options, engineId, counts } = context
  const channel = await openSideChannel(options, {
    'POST /prefix': body => {
      const { engine, keys, promptTokens } = prefixBody.parse(body)
      if (engine !== engineId) return { status: 409, body: { reason: 'is of another engine' } }
      const cached = ranks.map(rank => rank.engine.cachedTokens(Float64Array.from(keys), promptTokens))
      const tokens = Math.max(0, ...cached)
      if (tokens > 0) counts.pulled++
      return { status: 200, body: { tokens } }
    },
  })
  return new Generic(context, channel)
}

class Generic implements Connector {
  readonly address: KvAddress

  constructor(
    private readonly context: HandOffContext,
    private readonly channel: SideChannel,
  ) {
    this.address = channel.address
  }

  open({ call, rank, pieces }: LegRequest): Leg {
    const fields = call.fields()
    const isHinted =
      typeof fields === 'object' && fields !== null && FIELD in fields && fields[FIELD] !== null
    const answer = this.context.options.role === 'decode' ? {} : { answer: () => this.hint() }
    if (!isHinted || this.context.options.role === 'prefill') return answer
    const gone = new AbortController()
    return {
      ...answer,
      arrive: () => Promise.all(pieces.map(piece => this.fetch(fields, rank, piece, gone.signal))),
      abort: () => gone.abort(),
    }
  }

  close(): Promise<void> {
    return this.channel.close()
  }

  private hint(): Record<string, unknown> {
    this.context.counts.made++
    const { engineId: engine, options } = this.context
    const where = { url: baseUrl(this.address), engine, blockSize: options.blockSize }
    const data = Buffer.from(JSON.stringify(where)).toString('base64url')
    return { [FIELD]: { version: VERSION, data } }
  }

  private async fetch(fields: unknown, rank: Rank, piece: Piece, gone: AbortSignal): Promise<Arrival> {
    const promptTokens = piece.prompt.length
    try {
      const where = decoded(hinted.parse(fields)[FIELD].data)
      if (where.blockSize !== this.context.options.blockSize) throw new Error('blocks of another size')
      const keys = Array.from(piece.keys.subarray(0, Math.floor(promptTokens / where.blockSize)))
      const body = { engine: where.engine, keys, promptTokens }
      const answer = await askWithin(this.context, `${where.url}/prefix`, body, gone)
      const { tokens } = prefixAnswer.parse(answer)
      const here = rank.engine.cachedTokens(piece.keys, promptTokens)
      if (tokens > here) {
        await move(this.context, tokens - here, gone)
        this.context.counts.received++
      } else if (tokens === 0) this.context.counts.missed++
      return { tokens }
    } catch (error) {
      if (gone.aborted) throw error
      this.context.counts.missed++
      return { tokens: 0 }
    }
  }
}

function decoded(data: string): z.output<typeof content> {
  const value: unknown = JSON.parse(Buffer.from(data, 'base64url').toString('utf8'))
  return content.parse(value)
}
