/** What the churn test and its fleet's process tell each other. */
import { z } from 'zod'

/** What goes wrong on every pod's wire, as parts of all messages. */
export interface FleetFaults {
  readonly loss: number
  readonly reorder: number
  readonly duplicates: number
}

const id = z.string()

export const order = z.discriminatedUnion('type', [
  /** Start a pod; answered by where it publishes. */
  z.object({ type: z.literal('start'), id }),
  /** End it as a crash would: what is under way is lost. Answered when its ports are closed. */
  z.object({ type: z.literal('kill'), id }),
  /** Crash, and a new process at the same addresses. */
  z.object({ type: z.literal('restart'), id }),
  /** Serve no more requests of chance, mend the wires, and let each pod publish something to the end. */
  z.object({ type: z.literal('settle') }),
  /** Tell all. */
  z.object({ type: z.literal('truth') }),
])
export type Order = z.infer<typeof order>

export const address = z.object({ endpoint: z.string(), replay: z.string() })
export type Address = z.infer<typeof address>

const podTruth = z.object({
  id,
  isAlive: z.boolean(),
  /** Engine keys of the blocks in its cache. */
  cached: z.array(z.number()),
  /** Engine keys of all blocks that were ever in it, over all its lives. */
  ever: z.array(z.number()),
})

export const truth = z.object({
  pods: z.array(podTruth),
  requests: z.number(),
  batches: z.number(),
  lost: z.number(),
  stored: z.number(),
  removed: z.number(),
  cleared: z.number(),
})
export type Truth = z.infer<typeof truth>
