import { z } from 'zod'
import { preparer } from '../../factories.js'
import { firstUserMessage } from '../../first-user-message.js'
import { fnv1a, hashText } from '../../hash.js'
import type { RequestView } from '../../plugin.js'
import { promptKey } from '../../prompt-key.js'
import { affinityKey as affinityKeySlot } from '../../slots.js'
import { clientKey, keySources } from './client-key.js'

/**
 * What consistent hashing hashes: the client's key, or where it gives none, something of what it asks, so that requests
 * with the same beginning meet on the pod that has it cached.
 */
export const affinityKey = preparer({
  name: 'affinity-key',
  summary: "Makes the key for consistent hashing: the client's session or user, else the prompt's beginning.",
  writes: [affinityKeySlot],
  options: keySources.extend({
    else: z
      .enum(['prompt', 'first-user-message', 'body'])
      .default('prompt')
      .describe(
        'What makes the key where the client gives none: the beginning of the prompt, of the first message from the user (what comes before it counts for nothing), or of the whole body.',
      ),
    promptBytes: z
      .int()
      .min(1)
      .max(65_536)
      // SMG's prefix_hash takes 256 tokens, at about four bytes each.
      .default(1024)
      .describe(
        "How much of that makes the key: bytes of its JSON text; of a user's message, characters of its text.",
      ),
  }),
  build: options => ctx => {
    ctx.set(affinityKeySlot, clientKey(ctx, options) ?? contentKey(ctx, options.else, options.promptBytes))
  },
})

/** Bytes of messages that are looked through for the user's first one; the system prompt of an agent has some 50 KB. */
const SEARCHED = 1024 * 1024

function contentKey(ctx: RequestView, what: 'prompt' | 'first-user-message' | 'body', limit: number): string {
  if (what === 'body') return `body:${fnv1a(ctx.body, Math.min(ctx.body.length, limit))}`
  if (what === 'first-user-message') {
    const messages = ctx.fieldBytes('messages', SEARCHED)
    const text = messages && firstUserMessage(messages, limit)
    if (text !== undefined) return `user:${hashText(text)}`
  }
  return promptKey(ctx, limit)
}
