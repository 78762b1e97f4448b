/**
 * The encode role: takes a chat's images and sounds, answers where their embeddings can be had. After vLLM 0.32's
 * encoder disaggregation (`ec_role: ec_producer`, the CPU connector over NIXL): the request is an ordinary chat with
 * `max_tokens: 1`, and its answer's `ec_transfer_params` has an entry for each item, by its hash, with `peer_host`,
 * `peer_port`, `size_bytes` and `shape`. The language model does not run: the prompt costs nothing here.
 *
 * Stricter than vLLM: a request that asks for more than one token or for a stream, or that takes part in a hand-off of KV
 * blocks, is one that was not made for an encoder, and is refused.
 */
import { z } from 'zod'
import type { Connector, KvAddress, Leg, LegRequest } from './connector.js'
import { type HandOffContext, malformed } from './context.js'
import type { Encoder } from './encoder.js'
import { mediaOf } from './media.js'
import { openSideChannel, type SideChannel } from './side-channel.js'

/** Qwen2.5-VL 7B on 896 × 896 pixels: 4,096 patches, four to a token, 3,584 values a token, 16 bits each. */
const SHAPE = [1024, 3584] as const
const SIZE_BYTES = SHAPE[0] * SHAPE[1] * 2

const encodeRequest = z.looseObject({
  max_tokens: z.literal(1),
  max_completion_tokens: z.literal(1).nullish(),
  stream: z.literal(false).nullish(),
  kv_transfer_params: z.null().optional(),
  ec_transfer_params: z.null().optional(),
})
const fetchBody = z.object({ hash: z.string() })

export async function openEncode(context: HandOffContext, encoder: Encoder): Promise<Connector> {
  const { options, counts } = context
  const channel = await openSideChannel(options, {
    'POST /embedding': body => {
      const { hash } = fetchBody.parse(body)
      if (!encoder.has(hash)) return { status: 404, body: { reason: 'is not here (any more)' } }
      counts.pulled++
      return { status: 200, body: { size_bytes: SIZE_BYTES } }
    },
  })
  return new Encode(context, encoder, channel)
}

class Encode implements Connector {
  readonly address: KvAddress

  constructor(
    private readonly context: HandOffContext,
    private readonly encoder: Encoder,
    private readonly channel: SideChannel,
  ) {
    this.address = channel.address
  }

  open({ call, pieces }: LegRequest): Leg {
    const hashes = mediaOf(call.fields())
    if (hashes.length === 0)
      throw malformed(this.context, 'an encode engine needs an image or a sound in messages', 'messages')
    const asked = encodeRequest.safeParse(call.fields())
    if (!asked.success) {
      const [issue] = asked.error.issues
      const field = issue?.path.join('.') ?? ''
      throw malformed(this.context, `an encode engine gets max_tokens 1 and no more: ${field}`, field)
    }
    const gone = new AbortController()
    return {
      arrive: async () => {
        await this.encoder.encode(hashes, gone.signal)
        return pieces.map(({ prompt }) => ({ tokens: prompt.length }))
      },
      answer: () => ({ ec_transfer_params: this.params(hashes) }),
      abort: () => gone.abort(),
    }
  }

  close(): Promise<void> {
    return this.channel.close()
  }

  private params(hashes: readonly string[]): Record<string, object> {
    const { host: peer_host, port: peer_port } = this.address
    const entries = [...new Set(hashes)].map(hash => {
      const item_indices = hashes.flatMap((other, at) => (other === hash ? [at] : []))
      this.context.counts.made++
      const place = { peer_host, peer_port, size_bytes: SIZE_BYTES, shape: SHAPE }
      return [hash, { item_indices, metadata: {}, ...place }]
    })
    return Object.fromEntries(entries)
  }
}
