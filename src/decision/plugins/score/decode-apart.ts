import { z } from 'zod'
import { MAX_SLOTS } from '../../../data/native.js'
import { cost } from '../../factories.js'
import { promptLength } from '../../slots.js'

/** Requests over which means are taken: a part of 0.3 of eight pods is then known to 0.01. */
const REMEMBERED = 96
/** A fleet that always prefills still decodes a little. */
const LEAST_FREE = 0.05
/** More than any wait that a profile's other costs may come to, ms. */
const FORBIDDING = 1e7

/**
 * Of a fleet with pods that only decode (role `decode`) and pods that do all (role `both`): whether the latter shall
 * answer requests too. A token takes, in tokens whose keys and values are read meanwhile,
 *
 *     on all pods alike:           (weights + held / pods) / (1 − prefilling)
 *     on those that decode alone:   weights + held / pods that only decode
 *
 * A step reads the weights and what its requests hold; beside a prefill it takes that much longer, but on half of the
 * pods there is twice as much to read. `prefilling` is the part of the time in which a pod has prompts to compute, as
 * requests find it when they come (Poisson arrivals see time averages, Wolff 1982). Once apart is faster by `margin`, pods
 * that do all are left to prefills, until it is slower by half of that: what still decodes on them at a change is worst
 * off. Where the fleet has no such two kinds, all pods cost the same.
 */
export const decodeApart = cost({
  name: 'decode-apart',
  summary: 'Leaves pods of role `both` to prefills while pods of role `decode` alone answer faster.',
  reads: [promptLength],
  options: z.object({
    // 8 ms of a step over 49 ns a token, for an 8B model on an H100; 130,000 on an A10G, 300,000 for 32B on two H100.
    weightTokens: z
      .number()
      .positive()
      .default(160_000)
      .describe('Tokens of context whose reading takes as long as the rest of a step. In tokens.'),
    // Both estimates come to the same on an idle fleet, and are known to some two percent on one that is not.
    margin: z
      .number()
      .min(0)
      .max(1)
      .default(0.04)
      .describe('By how much apart has to be faster before it is done. As a part of the time per token.'),
  }),
  build: ({ weightTokens, margin }, { lane, caches, pods: view }) => {
    const { kvUse, requests, pendingTokens } = lane
    const isAlone = new Uint8Array(MAX_SLOTS)
    let version = -1
    let alone = 0
    let prefilling = 0
    let meanPrompt = 0
    let seen = 0
    let isApart = false

    const lookAtRoles = () => {
      version = view.version
      alone = 0
      isAlone.fill(0)
      for (let i = 0; i < view.all.length; i++) {
        const slot = view.all.slots[i] ?? 0
        if (view.bySlot(slot)?.role !== 'decode') continue
        isAlone[slot] = 1
        alone++
      }
    }

    return (ctx, pods, out) => {
      if (version !== view.version) lookAtRoles()
      const { all } = view
      if (alone === 0 || alone === all.length) return
      caches.refresh()
      let busy = 0
      let used = 0
      let held = 0
      let waiting = 0
      for (let i = 0; i < all.length; i++) {
        const slot = all.slots[i] ?? 0
        const pending = pendingTokens[slot] ?? 0
        if (pending > 0) busy++
        waiting += pending
        used += (kvUse[slot] ?? 0) * (caches.blocks[slot] ?? 0) * (caches.blockSize[slot] ?? 0)
        held += requests[slot] ?? 0
      }
      // Who is picked for a second time does not come at random.
      if (ctx.earlierPick === undefined) {
        if (seen < REMEMBERED) seen++
        prefilling += (busy / all.length - prefilling) / seen
        meanPrompt += (ctx.get(promptLength) - meanPrompt) / seen
      }
      // Metrics are late: requests that they do not know of yet hold their prompts.
      const tokens = Math.max(used, held * meanPrompt - waiting)
      const together = (weightTokens + tokens / all.length) / Math.max(LEAST_FREE, 1 - prefilling)
      const gain = together / (weightTokens + tokens / alone) - 1
      if (gain > margin || gain < -margin / 2) isApart = gain > margin
      if (!isApart) return
      for (let i = 0; i < pods.length; i++) out[i] = isAlone[pods.slots[i] ?? 0] === 1 ? 0 : FORBIDDING
    }
  },
})
