/** An engine's side of all hand-offs: its connector, its encoder and its counts. */
import { randomUUID } from 'node:crypto'
import type { Timing } from '../driver.js'
import type { EngineOptions } from '../options.js'
import type { Rank } from '../rank.js'
import type { Connector, Leg, LegRequest } from './connector.js'
import { type HandOffContext, malformed } from './context.js'
import { type HandOffCounts, newCounts } from './counters.js'
import { Encoder } from './encoder.js'
import { openConnector } from './open.js'

const announces = (fields: unknown): boolean =>
  typeof fields === 'object' &&
  fields !== null &&
  'ec_transfer_params' in fields &&
  fields.ec_transfer_params !== null

export class HandOff {
  readonly counts: HandOffCounts
  private readonly encoder: Encoder
  private connector: Connector | null = null

  constructor(private readonly context: HandOffContext) {
    this.counts = context.counts
    this.encoder = new Encoder(context)
  }

  static create(options: EngineOptions, timing: Timing): HandOff {
    const engineId = options.engineId ?? randomUUID()
    return new HandOff({ options, timing, engineId, counts: newCounts() })
  }

  /** Opens the ports. Rejects if one is taken. */
  async open(ranks: readonly Rank[]): Promise<void> {
    this.connector = await openConnector(this.context, this.encoder, ranks)
  }

  get address() {
    return this.connector?.address ?? null
  }

  get engineId(): string {
    return this.context.engineId
  }

  /** The leg of a request; null if it needs nothing from elsewhere and gives nothing away. Throws an ApiError. */
  join(request: LegRequest): Leg | null {
    const { role } = this.context.options
    const fields = request.call.fields()
    if (role === 'decode' && announces(fields)) {
      const field = 'ec_transfer_params'
      throw malformed(this.context, `${field}: a decode engine needs no embeddings`, field)
    }
    if (role !== 'encode') this.encoder.check(fields)
    const leg = this.connector?.open(request) ?? null
    // An encode leg has done it, and a decode engine that gets keys and values needs no embeddings.
    const isProvided = role === 'encode' || (role === 'decode' && leg?.arrive !== undefined)
    if (isProvided || !this.encoder.isNeededBy(fields)) return leg
    try {
      this.encoder.checkAll(fields)
    } catch (error) {
      leg?.abort?.()
      throw error
    }
    const gone = new AbortController()
    return {
      ...leg,
      arrive: async () => {
        const [arrivals] = await Promise.all([
          leg?.arrive?.() ?? request.pieces.map(() => ({ tokens: 0 })),
          this.encoder.provide(fields, gone.signal),
        ])
        return arrivals
      },
      abort: () => {
        gone.abort()
        leg?.abort?.()
      },
    }
  }

  async close(): Promise<void> {
    await this.connector?.close()
  }
}
