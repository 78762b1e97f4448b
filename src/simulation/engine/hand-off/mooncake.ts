/**
 * vLLM's MooncakeConnector: the router names the transfer, both legs carry its id, and the decode engine finds the
 * prefill's workers by `GET /query` on a bootstrap server. The legs may come in any order; a decode waits for its
 * prefill. After vLLM 0.32's mooncake_connector.py and mooncake_utils.py (source). Blocks are offered only if the
 * prefill ended for its length, as there: a router that does not set `max_tokens` to 1 gets nothing.
 *
 * Stricter than vLLM: missing fields, an id used twice, several sequences under one id, a leg of the wrong role and
 * another prompt are refused.
 */
import { z } from 'zod'
import type { Connector, KvAddress, Leg, LegRequest } from './connector.js'
import { failed, type HandOffContext, malformed, requireNoPromptLogprobs } from './context.js'
import { Holder } from './holder.js'
import { OfferError } from './offers.js'
import { askWithin, PullError, pull } from './pull.js'
import { baseUrl, openSideChannel, type SideChannel } from './side-channel.js'

const FIELD = 'kv_transfer_params'
const body = z.looseObject({
  kv_transfer_params: z
    .looseObject({
      do_remote_decode: z.boolean().nullish(),
      do_remote_prefill: z.boolean().nullish(),
      transfer_id: z.string().min(1).nullish(),
    })
    .nullish(),
})
const remoteBody = z.looseObject({
  remote_engine_id: z.string(),
  remote_bootstrap_addr: z.url({ protocol: /^http$/ }),
})
const queryBody = z.record(
  z.string(),
  z.object({ engine_id: z.string(), worker_addr: z.record(z.string(), z.record(z.string(), z.string())) }),
)

export async function openMooncake(context: HandOffContext): Promise<Connector> {
  const { options, engineId } = context
  const names = Array.from({ length: options.dataParallel }, (_, rank) =>
    options.dataParallel === 1 ? engineId : `${engineId}_dp${rank}`,
  )
  const holder = new Holder(context, true, name => names.includes(name))
  if (options.role === 'decode') return new Mooncake(context, holder, null)
  const channel: SideChannel = await openSideChannel(options, {
    ...holder.routes,
    'GET /query': () => {
      // Real workers have addresses of their own for the transfer engine; here the bootstrap server answers for them.
      const entry = (engine_id: string) => ({
        engine_id,
        worker_addr: { 0: { 0: baseUrl(channel.address) } },
      })
      return { status: 200, body: Object.fromEntries(names.map((name, rank) => [rank, entry(name)])) }
    },
  })
  return new Mooncake(context, holder, channel)
}

class Mooncake implements Connector {
  constructor(
    private readonly context: HandOffContext,
    private readonly holder: Holder,
    private readonly channel: SideChannel | null,
  ) {}

  get address(): KvAddress | null {
    return this.channel?.address ?? null
  }

  open(request: LegRequest): Leg | null {
    const parsed = body.safeParse(request.call.fields())
    if (!parsed.success) throw malformed(this.context, `${FIELD}: ${parsed.error.issues[0]?.message}`, FIELD)
    const params = parsed.data.kv_transfer_params ?? null
    const isPrefill = params?.do_remote_decode === true
    if (params === null || (!isPrefill && params.do_remote_prefill !== true)) return null
    const { transfer_id: id } = params
    if (id === null || id === undefined)
      throw malformed(this.context, `${FIELD}.transfer_id is missing`, FIELD)
    if (request.pieces.length !== 1)
      throw malformed(this.context, `${FIELD}: transfer ${id} has one prompt and answer`, FIELD)
    return isPrefill ? this.prefill(request, id) : this.decode(request, id, params)
  }

  async close(): Promise<void> {
    this.holder.offers.close()
    await this.channel?.close()
  }

  private prefill({ rank, pieces }: LegRequest, id: string): Leg {
    const { offers } = this.holder
    if (this.channel === null)
      throw malformed(this.context, `${FIELD}.do_remote_decode: this is a decode engine`, FIELD)
    try {
      offers.reserve(id)
    } catch (error) {
      if (error instanceof OfferError) throw malformed(this.context, `transfer ${id} ${error.message}`, FIELD)
      throw error
    }
    return {
      holds: true,
      finished: (at, end) => {
        const piece = pieces[at]
        if (piece !== undefined && end.finish === 'length') return this.holder.offer(id, rank, piece, end)
        end.release()
        offers.drop(id, 'was not made: its prefill ended before its length')
      },
      abort: () => offers.drop(id, 'was given up: its prefill was aborted'),
    }
  }

  private decode({ call, rank, pieces }: LegRequest, id: string, params: object): Leg {
    requireNoPromptLogprobs(this.context, call)
    if (this.context.options.role === 'prefill')
      throw malformed(this.context, `${FIELD}.do_remote_prefill: this is a prefill engine`, FIELD)
    const remote = remoteBody.safeParse(params)
    if (!remote.success) {
      const fields = remote.error.issues.map(issue => issue.path.join('.')).join(', ')
      throw malformed(this.context, `${FIELD}.do_remote_prefill: missing or wrong: ${fields}`, FIELD)
    }
    const { remote_engine_id: engine, remote_bootstrap_addr: bootstrap } = remote.data
    const gone = new AbortController()
    const { signal } = gone
    const [piece] = pieces
    if (piece === undefined) return {}
    return {
      arrive: async () => {
        try {
          const url = await this.workerOf(bootstrap.replace(/\/$/, ''), engine, signal)
          return [await pull(this.context, { url, key: id, engine, rank, piece, gone: signal })]
        } catch (error) {
          if (!(error instanceof PullError)) throw error
          if (this.context.options.kvLoadFailure === 'fail')
            throw failed(this.context, `KV load failure: transfer ${id} ${error.message}`)
          this.context.counts.recomputed++
          return [{ tokens: 0 }]
        }
      },
      abort: () => gone.abort(),
    }
  }

  private async workerOf(bootstrap: string, engine: string, gone: AbortSignal): Promise<string> {
    const answer = queryBody.safeParse(await askWithin(this.context, `${bootstrap}/query`, null, gone))
    const entry = Object.values(answer.data ?? {}).find(({ engine_id }) => engine_id === engine)
    const worker = entry?.worker_addr['0']?.['0']
    if (worker !== undefined) return worker
    throw new PullError(`is of engine ${engine}, which is not found from bootstrap server ${bootstrap}`)
  }
}
