/** A bad wire between a publisher and its subscribers: messages get lost, come late, or come twice. */
import { type Random, seededRandom } from '../random.js'

/** Each is the part of all messages that it happens to, 0 to 1. */
export interface WireFaults {
  /** Never sent; a replay still has them. */
  readonly loss: number
  /** Overtaken by one to four messages that follow. */
  readonly reorder: number
  readonly duplicates: number
  readonly seed: number
}

export const GOOD_WIRE: WireFaults = { loss: 0, reorder: 0, duplicates: 0, seed: 1 }

/** A late message waits no longer for others to overtake it, milliseconds. */
const LATEST_MS = 30
const MOST_OVERTAKING = 4

interface Late<M> {
  readonly message: M
  left: number
}

export class FaultyWire<M> {
  lost = 0
  private readonly random: Random
  private late: Late<M>[] = []
  private timer: NodeJS.Timeout | null = null

  constructor(
    private faults: WireFaults,
    private readonly deliver: (message: M) => void,
  ) {
    this.random = seededRandom(faults.seed)
  }

  send(message: M): void {
    if (this.random() < this.faults.loss) {
      this.lost++
      return
    }
    if (this.random() < this.faults.reorder) {
      this.late.push({ message, left: 1 + Math.floor(this.random() * MOST_OVERTAKING) })
      this.timer ??= setTimeout(() => this.flush(), LATEST_MS).unref()
      return
    }
    this.deliver(message)
    if (this.random() < this.faults.duplicates) this.deliver(message)
    if (this.late.length > 0) this.overtaken()
  }

  /** Sends what is still held back. */
  flush(): void {
    this.stop()
    const late = this.late
    this.late = []
    for (const { message } of late) this.deliver(message)
  }

  /** Nothing goes wrong from now on. */
  mend(): void {
    this.faults = { ...GOOD_WIRE, seed: this.faults.seed }
    this.flush()
  }

  /** Holds back for ever what it holds back now. */
  stop(): void {
    if (this.timer !== null) clearTimeout(this.timer)
    this.timer = null
  }

  private overtaken(): void {
    const arrived: M[] = []
    this.late = this.late.filter(late => {
      if (--late.left > 0) return true
      arrived.push(late.message)
      return false
    })
    for (const message of arrived) this.deliver(message)
  }
}
