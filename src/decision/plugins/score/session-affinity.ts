import { BOOK, slotOf } from '../../../data/native.js'
import { noOptions, scorer } from '../../factories.js'
import { sessionPod } from '../../slots.js'

/**
 * 1 for the pod that the session lives on, 0 for all others. Booking then claims the session for the pod it books, so
 * a session that had to move stays where it went; two turns that race on different threads end on one pod.
 */
export const sessionAffinity = scorer({
  name: 'session-affinity',
  summary: 'Prefers the pod that served the session before.',
  reads: [sessionPod],
  book: BOOK.claimSession,
  options: noOptions,
  build: (_, env) => (ctx, pods, out) => {
    const home = ctx.get(sessionPod)
    // A slot may have a new pod by now, which knows nothing of the session: the generation tells.
    if (home === -1 || env.pods.byRef(home) === undefined) return
    const slot = slotOf(home)
    for (let i = 0; i < pods.length; i++) if (pods.slots[i] === slot) out[i] = 1
  },
})
