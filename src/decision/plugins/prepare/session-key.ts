import { preparer } from '../../factories.js'
import { sessionKey as sessionKeySlot, sessionPod } from '../../slots.js'
import { clientKey, keySources } from './client-key.js'

/** Names the request's session. A request that names none has none: it is routed like any other. */
export const sessionKey = preparer({
  name: 'session-key',
  summary: 'Finds the session that the request names, and the pod it lives on.',
  writes: [sessionKeySlot, sessionPod],
  options: keySources,
  build: sources => ctx => {
    const key = clientKey(ctx, sources) ?? null
    ctx.set(sessionKeySlot, key)
    // Per model: a client that talks to two models in turn would otherwise move its session back and forth.
    if (key !== null) ctx.nameSession(`${ctx.model}\u0000${key}`)
  },
})
