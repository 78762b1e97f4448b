import { z } from 'zod'
import { MAX_SLOTS } from '../../../data/native.js'
import type { Pool } from '../../../data/pod-view.js'
import { TenantUsage } from '../../../data/tenant-usage.js'
import { filter } from '../../factories.js'
import { hashText, mixWord } from '../../hash.js'
import { PodValues } from '../../pod-set.js'
import { promptLength } from '../../slots.js'

/**
 * Keeps a tenant that takes more than its part from filling every queue: while the fleet is busy, it is held to as many
 * pods as its fair part of the tokens is of what it takes, always the same ones (rendezvous hashing by tenant and pod), so
 * that the others find pods without its queue. Nobody is refused, and who is alone has all pods.
 */
export const tenantFairness = filter({
  name: 'tenant-fairness',
  summary: 'Holds tenants that take more than their part to some of the pods while the fleet is busy.',
  reads: [promptLength],
  options: z.object({
    header: z
      .string()
      .min(1)
      .toLowerCase()
      .default('x-tenant-id')
      .describe('Request header that names the tenant; requests without it are not held.'),
    allowance: z
      .number()
      .min(1)
      .max(100)
      .default(1.5)
      .describe('How many times its fair part of the last seconds’ tokens a tenant may take. No unit.'),
    busyRequests: z
      .number()
      .min(0)
      .default(4)
      .describe('Mean requests on a pod from which on the fleet counts as busy. In requests.'),
  }),
  build: ({ header, allowance, busyRequests }, env) => {
    const usage = new TenantUsage(env.board.tenants, () => env.now())
    const { requests } = env.lane
    // Of the request that is booked next: selecting and booking are one synchronous step.
    let tenant = -1
    let tokens = 0
    env.onBooked(() => {
      if (tenant >= 0) usage.note(tenant, tokens)
    })
    // By id, not by slot: a pod's slot is another on each router, and after a restart.
    const podIds = new PodValues(env.pods, ({ id }) => hashText(id))
    const ranks = new Float64Array(MAX_SLOTS)
    const all = new Float64Array(MAX_SLOTS)
    let sorted = all.subarray(0, 0)

    return (ctx, pods, keep) => {
      const name = ctx.header(header)
      tenant = name === undefined ? -1 : hashText(name)
      if (tenant < 0) return
      tokens = Math.max(1, ctx.get(promptLength))
      if (pods.length <= 1 || meanOf(requests, pods) < busyRequests) return
      const excess = usage.excess(tenant) / allowance
      if (excess <= 1) return
      const allowed = Math.max(1, Math.round(pods.length / excess))
      const ids = podIds.current()
      if (sorted.length !== pods.length) sorted = all.subarray(0, pods.length)
      for (let i = 0; i < pods.length; i++) {
        const rank = mixWord(tenant ^ (ids[pods.slots[i] ?? 0] ?? 0)) >>> 0
        ranks[i] = rank
        sorted[i] = rank
      }
      sorted.sort()
      const bound = sorted[allowed - 1] ?? 0
      for (let i = 0; i < pods.length; i++) if ((ranks[i] ?? 0) > bound) keep[i] = 0
    }
  },
})

function meanOf(column: Float64Array, pods: Pool): number {
  let sum = 0
  for (let i = 0; i < pods.length; i++) sum += column[pods.slots[i] ?? 0] ?? 0
  return sum / pods.length
}
