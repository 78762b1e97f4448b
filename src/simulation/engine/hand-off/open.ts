/** The connector that an engine's options ask for. */
import type { Rank } from '../rank.js'
import type { Connector } from './connector.js'
import type { HandOffContext } from './context.js'
import { openEncode } from './encode.js'
import type { Encoder } from './encoder.js'
import { openGeneric } from './generic.js'
import { openMooncake } from './mooncake.js'
import { openNixl } from './nixl.js'
import { openP2pNccl } from './p2p-nccl.js'
import { openSglang } from './sglang.js'

/** Null for an engine that takes no part in hand-offs. Rejects if its port is taken. */
export async function openConnector(
  context: HandOffContext,
  encoder: Encoder,
  ranks: readonly Rank[],
): Promise<Connector | null> {
  const { role, kvConnector } = context.options
  if (role === 'encode') return openEncode(context, encoder)
  switch (kvConnector) {
    case undefined:
      return null
    case 'nixl':
      return openNixl(context)
    case 'p2p-nccl':
      return openP2pNccl(context)
    case 'mooncake':
      return openMooncake(context)
    case 'sglang':
      return openSglang(context)
    case 'generic':
      return openGeneric(context, ranks)
  }
}
