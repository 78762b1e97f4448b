import { z } from 'zod'
import { preparer } from '../../factories.js'
import { fnv1a } from '../../hash.js'
import type { RequestView } from '../../plugin.js'
import { affinityKey as affinityKeySlot } from '../../slots.js'
import { clientKey, keySources } from './client-key.js'

/**
 * What consistent hashing hashes: the client's key, or where it gives none, the beginning of its prompt, so that
 * requests with the same beginning meet on the pod that has it cached.
 */
export const affinityKey = preparer({
  name: 'affinity-key',
  summary: "Makes the key for consistent hashing: the client's session or user, else the prompt's beginning.",
  writes: [affinityKeySlot],
  options: keySources.extend({
    promptBytes: z
      .int()
      .min(1)
      .max(65_536)
      // SMG's prefix_hash takes 256 tokens, at about four bytes each.
      .default(1024)
      .describe(
        'How much of the prompt makes the key where the client gives none, in bytes of its JSON text.',
      ),
  }),
  build: sources => ctx => {
    ctx.set(affinityKeySlot, clientKey(ctx, sources) ?? promptKey(ctx, sources.promptBytes))
  },
})

const PROMPT_FIELDS = ['messages', 'prompt', 'input'] as const

function promptKey(ctx: RequestView, limit: number): string {
  for (const field of PROMPT_FIELDS) {
    const bytes = ctx.fieldBytes(field, limit)
    if (bytes !== undefined) return `prompt:${fnv1a(bytes, bytes.length)}`
  }
  return 'prompt:'
}
