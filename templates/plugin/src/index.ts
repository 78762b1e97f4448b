/**
 * A template of a plugin module: requests say in a header which tier they are of, and pods that are labelled for that
 * tier are preferred. Every plugin that the module exports can be named in a profile.
 *
 * What to keep to:
 * - `build` runs once a worker thread, when the profile is loaded; what it returns runs on every request. Allocate
 *   arrays in `build`; in the function, nothing per pod.
 * - `pods.slots[i]` is a pod's slot for i < pods.length. What is known of pods stands in columns by slot (`env.lane`:
 *   inflight, requests, pendingTokens, kvUse, …) and in `env.pods.bySlot(slot)` (id, labels, models).
 * - Time and chance come from `env.now()` and `env.random()`, so that simulations can repeat them.
 * - Only preparers may be asynchronous: an `async` filter, scorer or picker counts as one that fails.
 * - A plugin that throws, or whose promise rejects, is passed over for that request, counted in
 *   phyllo_plugin_failures_total and logged once. Throw a PhylloError to refuse the request with it.
 */
import { preparer, scorer, slot, z } from 'phyllo'

/** What plugins tell each other stands in slots: here the tier that a request asks for, '' for none. */
const tier = slot('tier').of<string>()

/** prepare: finds out something of the request, once. It may be asynchronous; then the request waits for it. */
export const requestTier = preparer({
  name: 'request-tier',
  summary: 'Reads the tier that the request asks for.',
  writes: [tier],
  options: z.object({
    header: z.string().toLowerCase().default('x-tier').describe('Request header that names the tier.'),
  }),
  build:
    ({ header }) =>
    ctx =>
      ctx.set(tier, ctx.header(header) ?? ''),
})

/**
 * score: writes 0..1 for each pod. A filter would set keep[i] = 0 for pods to drop; a cost would write milliseconds; a
 * picker would push slots into a ranking. A slot that is read must be written by a plugin before, or the profile is
 * refused when it is loaded.
 */
export const tierAffinity = scorer({
  name: 'tier-affinity',
  summary: 'Prefers pods that are labelled for the tier of the request.',
  reads: [tier],
  options: z.object({
    label: z.string().min(1).default('tier').describe("Label that names a pod's tier."),
  }),
  build:
    ({ label }, { pods: fleet }) =>
    (ctx, pods, out) => {
      const wanted = ctx.get(tier)
      if (wanted === '') return
      for (let i = 0; i < pods.length; i++) {
        if (fleet.bySlot(pods.slots[i] ?? 0)?.labels[label] === wanted) out[i] = 1
      }
    },
})
