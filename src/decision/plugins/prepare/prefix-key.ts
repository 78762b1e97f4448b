import { z } from 'zod'
import { preparer } from '../../factories.js'
import { fnv1a } from '../../hash.js'
import { promptKey } from '../../prompt-key.js'
import { affinityKey, promptTokens } from '../../slots.js'

/** English text has about four bytes a token. */
const BYTES_PER_TOKEN = 4

/**
 * The hash of the prompt's first tokens as the key for consistent hashing. Without the model's tokenizer it is that of
 * as much text. (It copies all of the prompt's tokens, 4 bytes each, out of the native core.)
 */
export const prefixKey = preparer({
  name: 'prefix-key',
  summary: "Makes the key for consistent hashing of the prompt's first tokens.",
  reads: [promptTokens],
  writes: [affinityKey],
  options: z.object({
    tokens: z.int().min(1).max(16_384).default(256).describe('Tokens that make the key. In tokens.'),
  }),
  build:
    ({ tokens: wanted }) =>
    ctx => {
      const tokens = ctx.get(promptTokens)
      const length = Math.min(tokens.length, wanted)
      const bytes = new Uint8Array(tokens.buffer, tokens.byteOffset, length * Uint32Array.BYTES_PER_ELEMENT)
      const key =
        length === 0 ? promptKey(ctx, wanted * BYTES_PER_TOKEN) : `tokens:${fnv1a(bytes, bytes.length)}`
      ctx.set(affinityKey, key)
    },
})
