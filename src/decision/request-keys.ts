/** What a request is kept together with others by, as a trace records it. */
import type { RoutingContext } from './context.js'
import type { AnyPrepareSpec, PluginEnv } from './plugin.js'
import { affinityKey as affinityPlugin } from './plugins/prepare/affinity-key.js'
import { clientKey, keySources } from './plugins/prepare/client-key.js'
import { affinityKey, sessionKey } from './slots.js'

export interface RequestKeys {
  /** What the client calls its session; null where it names none. */
  readonly session: string | null
  /** What consistent hashing hashes. */
  readonly affinity: string
  /** Which of them the profile made itself; the others are what the plugins' defaults would have made. */
  readonly own: { readonly session: boolean; readonly affinity: boolean }
}

const defaults = keySources.parse({})
const affinity: AnyPrepareSpec = affinityPlugin()

/**
 * The keys that the profile's plugins made, and in their absence those of the default options, so that other profiles
 * can be tried on the request later. To be called while its body is there; names no session and books nothing.
 */
export function requestKeys(ctx: RoutingContext, env: PluginEnv): RequestKeys {
  const session = sessionKey.peek(ctx)
  const isAffine = affinityKey.peek(ctx) !== undefined
  if (!isAffine) affinity.create(env)?.(ctx)
  return {
    session: session === undefined ? (clientKey(ctx, defaults) ?? null) : session,
    affinity: affinityKey.peek(ctx) ?? '',
    own: { session: session !== undefined, affinity: isAffine },
  }
}
