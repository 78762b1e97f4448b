/** The fleet of the churn test, in a process of its own: what the router's memory is must not be the pods'. */
import { z } from 'zod'
import { seededRandom } from '#phyllo/simulation/engine/random.js'
import { type Address, type FleetFaults, order, type Truth } from './protocol.js'
import { type Counts, SimPod } from './sim-pod.js'

const birth = z.object({
  faults: z.object({ loss: z.number(), reorder: z.number(), duplicates: z.number() }),
  /** Milliseconds between two looks at who has a request to serve. */
  tickMs: z.number(),
  seed: z.number(),
})

interface Life {
  pod: SimPod | null
  readonly ever: Set<number>
  address: Partial<Address>
}

class SimFleet {
  private readonly counts: Counts = { requests: 0, stored: 0, removed: 0, cleared: 0 }
  private readonly lives = new Map<string, Life>()
  private readonly random
  private readonly timer: NodeJS.Timeout
  private seeds = 0
  private batches = 0
  private lost = 0

  constructor(
    private readonly faults: FleetFaults,
    tickMs: number,
    seed: number,
  ) {
    this.random = seededRandom(seed)
    this.timer = setInterval(() => this.tick(), tickMs)
  }

  async obey(raw: unknown): Promise<unknown> {
    const wanted = order.parse(raw)
    if (wanted.type === 'truth') return this.truth()
    if (wanted.type === 'settle') return this.settle()
    const life = this.lives.get(wanted.id) ?? { pod: null, ever: new Set<number>(), address: {} }
    this.lives.set(wanted.id, life)
    await this.end(life)
    return wanted.type === 'kill' ? null : this.start(life)
  }

  private async start(life: Life): Promise<Address> {
    const pod = await SimPod.start(++this.seeds, this.faults, life.address, this.counts)
    life.pod = pod
    life.address = pod.address
    return pod.address
  }

  private async end(life: Life): Promise<void> {
    const { pod } = life
    if (pod === null) return
    life.pod = null
    for (const key of pod.ever) life.ever.add(key)
    this.batches += pod.publisher.published
    this.lost += pod.publisher.lost
    await pod.publisher.close()
  }

  private tick(): void {
    for (const { pod } of this.lives.values()) if (pod !== null && this.random() < 0.5) pod.serve()
  }

  private settle(): null {
    clearInterval(this.timer)
    for (const { pod } of this.lives.values()) pod?.settle()
    return null
  }

  private truth(): Truth {
    const alive = [...this.lives.values()].flatMap(({ pod }) => (pod === null ? [] : [pod.publisher]))
    return {
      pods: [...this.lives].map(([id, { pod, ever }]) => ({
        id,
        isAlive: pod !== null,
        cached: pod?.cached() ?? [],
        ever: [...new Set([...ever, ...(pod?.ever ?? [])])],
      })),
      batches: alive.reduce((sum, { published }) => sum + published, this.batches),
      lost: alive.reduce((sum, { lost }) => sum + lost, this.lost),
      ...this.counts,
    }
  }
}

const { faults, tickMs, seed } = birth.parse(JSON.parse(process.argv[2] ?? ''))
const fleet = new SimFleet(faults, tickMs, seed)
const call = z.object({ call: z.number(), order: z.unknown() })

process.on('message', raw => {
  const { call: number, order: wanted } = call.parse(raw)
  fleet.obey(wanted).then(
    result => process.send?.({ call: number, result }),
    error => process.send?.({ call: number, error: String(error) }),
  )
})
// Its parent is gone, however that came about.
process.on('disconnect', () => process.exit())
