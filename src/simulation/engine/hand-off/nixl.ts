/**
 * vLLM's NixlConnector, in pull mode: the prefill's answer names its blocks and its side channel, the decode engine
 * pulls them from there. Fields as in the captured traffic of vLLM 0.32; what happens if they can't be had is
 * `kv_load_failure_policy`, whose default there is to fail the request.
 *
 * Stricter than vLLM, so that a router's mistakes show: parameters that lack a field, one hand-off for several
 * sequences, and a hand-off for another prompt are refused, where vLLM logs a warning, reads freed blocks or computes
 * nonsense.
 */
import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import type { Call } from '../call.js'
import type { Arrival, Connector, KvAddress, Leg, LegRequest, PieceEnd } from './connector.js'
import { engineIdOf, failed, type HandOffContext, malformed, requireNoPromptLogprobs } from './context.js'
import { Holder } from './holder.js'
import { PullError, pull } from './pull.js'
import { baseUrl, openSideChannel, type SideChannel } from './side-channel.js'

const FIELD = 'kv_transfer_params'
const paramsBody = z.looseObject({
  kv_transfer_params: z
    .looseObject({ do_remote_decode: z.boolean().nullish(), do_remote_prefill: z.boolean().nullish() })
    .nullish(),
})
const remoteBody = z.looseObject({
  remote_engine_id: z.string(),
  remote_request_id: z.string(),
  remote_block_ids: z.array(z.array(z.number().int()).min(1)).min(1),
  remote_host: z.string().min(1),
  remote_port: z.number().int().min(1).max(65_535),
})

export async function openNixl(context: HandOffContext): Promise<Connector> {
  const { engineId } = context
  const holder = new Holder(context, false, name => name === engineId || name.startsWith(`${engineId}_dp`))
  const channel =
    context.options.role === 'decode' ? null : await openSideChannel(context.options, holder.routes)
  return new Nixl(context, holder, channel)
}

class Nixl implements Connector {
  constructor(
    private readonly context: HandOffContext,
    private readonly holder: Holder,
    private readonly channel: SideChannel | null,
  ) {}

  get address(): KvAddress | null {
    return this.channel?.address ?? null
  }

  open(request: LegRequest): Leg | null {
    const parsed = paramsBody.safeParse(request.call.fields())
    if (!parsed.success) throw malformed(this.context, `${FIELD} must be an object, with booleans`, FIELD)
    const params = parsed.data.kv_transfer_params ?? null
    if (params?.do_remote_decode === true) return this.prefill(request)
    return params?.do_remote_prefill === true ? this.decode(request, params) : null
  }

  async close(): Promise<void> {
    this.holder.offers.close()
    await this.channel?.close()
  }

  private prefill({ call, rank, pieces }: LegRequest): Leg {
    const { address } = this
    if (address === null)
      throw malformed(this.context, `${FIELD}.do_remote_decode: this is a decode engine`, FIELD)
    let params: object | null = null
    return {
      holds: true,
      finished: (at, end) => {
        const piece = pieces[at]
        if (piece === undefined) return end.release()
        const key = requestId(call, at)
        this.holder.offer(key, rank, piece, end)
        // With several sequences vLLM's answer has the last one's parameters; the others wait for their time-out.
        params = transferParams(key, engineIdOf(this.context, rank), address, end)
      },
      answer: () => ({ [FIELD]: params }),
    }
  }

  private decode({ call, rank, pieces }: LegRequest, params: object): Leg {
    requireNoPromptLogprobs(this.context, call)
    if (this.context.options.role === 'prefill')
      throw malformed(this.context, `${FIELD}.do_remote_prefill: this is a prefill engine`, FIELD)
    const remote = remoteBody.safeParse(params)
    if (!remote.success) {
      const fields = remote.error.issues.map(issue => issue.path.join('.')).join(', ')
      throw malformed(
        this.context,
        `${FIELD}.do_remote_prefill needs what the prefill answered: ${fields}`,
        FIELD,
      )
    }
    const [piece, second] = pieces
    if (piece === undefined || second !== undefined)
      throw malformed(this.context, `${FIELD}: a hand-off has one consumer, not ${pieces.length}`, FIELD)
    const {
      remote_engine_id: engine,
      remote_request_id: key,
      remote_host: host,
      remote_port: port,
    } = remote.data
    const gone = new AbortController()
    const url = baseUrl({ host, port })
    return {
      arrive: () =>
        pull(this.context, { url, key, engine, rank, piece, gone: gone.signal }).then(
          arrival => [arrival],
          (error: unknown) => [this.withoutBlocks(key, error)],
        ),
      abort: () => gone.abort(),
    }
  }

  /** vLLM's kv_load_failure_policy. */
  private withoutBlocks(key: string, error: unknown): Arrival {
    if (!(error instanceof PullError)) throw error
    if (this.context.options.kvLoadFailure === 'fail')
      throw failed(this.context, `KV load failure: hand-off ${key} ${error.message}`)
    this.context.counts.recomputed++
    return { tokens: 0 }
  }
}

/** The engine's own name of a sequence: the answer's id, the prompt's number for completions, and something random. */
function requestId(call: Call, at: number): string {
  const suffix = randomBytes(4).toString('hex')
  const { path } = call.exchange
  if (path === '/v1/completions') return `cmpl-${call.id}-${at}-${suffix}`
  return `${path === '/v1/responses' ? 'resp_' : 'chatcmpl-'}${call.id}-${suffix}`
}

/** Blocks are numbered from 1: vLLM's block 0 is nobody's. */
const transferParams = (key: string, engine: string, { host, port }: KvAddress, end: PieceEnd): object => ({
  do_remote_prefill: true,
  do_remote_decode: false,
  remote_block_ids: [end.blocks.map(block => block + 1)],
  remote_engine_id: engine,
  remote_request_id: key,
  remote_host: host,
  remote_port: port,
  tp_size: 1,
  dcp_size: 1,
  pp_size: 1,
  remote_num_tokens: end.tokens,
  remote_blocks_expiry_time: null,
  transfer_mode: 'pull',
  remote_prefill_cached_tokens: end.cachedTokens,
})
