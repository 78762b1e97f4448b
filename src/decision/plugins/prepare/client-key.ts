/** Where a client says who it is: shared by `session-key` and `affinity-key`. */
import { z } from 'zod'
import type { RequestView } from '../../plugin.js'

/** Body fields that may name a session, most specific first. */
const KEY_FIELDS = ['session_id', 'session_params.session_id', 'prompt_cache_key', 'user', 'user_id'] as const

/**
 * Defaults: the order in which vLLM Router looks, with OpenAI's `prompt_cache_key` added and without its X-Request-ID,
 * X-Correlation-ID and X-Trace-ID (new on every request, so each turn would move), and X-Tenant-ID (one pod for a whole
 * tenant is an imbalance, not a session).
 */
export const keySources = z.object({
  headers: z
    .array(z.string().min(1).toLowerCase())
    .default(['x-session-id', 'x-user-id'])
    .describe('Request headers that may hold the key; the first one present wins, before any body field.'),
  fields: z
    .array(z.enum(KEY_FIELDS))
    .default([...KEY_FIELDS])
    .describe(
      'Body fields that may hold the key, in this order; a field that is not a string is passed over.',
    ),
})
export type KeySources = z.output<typeof keySources>

/** A `session_params` object longer than this many bytes is not looked into: it would be parsed on the event loop. */
const MAX_PARAMS_BYTES = 4096

/** The first key found; undefined if the client gives none. Empty strings are none. */
export function clientKey(ctx: RequestView, sources: KeySources): string | undefined {
  for (const name of sources.headers) {
    const value = ctx.header(name)
    if (value) return value
  }
  for (const field of sources.fields) {
    const value = field === 'session_params.session_id' ? sessionParam(ctx) : ctx.stringField(field)
    if (value) return value
  }
  return undefined
}

function sessionParam(ctx: RequestView): string | undefined {
  const bytes = ctx.fieldBytes('session_params', MAX_PARAMS_BYTES + 1)
  if (bytes === undefined || bytes.length > MAX_PARAMS_BYTES) return undefined
  // `scan` has checked the whole body, so this parses.
  const params: unknown = JSON.parse(ctx.rawField('session_params') ?? 'null')
  if (typeof params !== 'object' || params === null || !('session_id' in params)) return undefined
  return typeof params.session_id === 'string' ? params.session_id : undefined
}
