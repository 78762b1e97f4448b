/** A lane that counts what is booked and given back. */
import {
  type EventFeed,
  type Lane,
  type NativeAddon,
  type PrefixIndex,
  type SharedState,
  SUMMARY,
  USAGE,
} from '#phyllo/data/native.js'

/** Counts what is booked and given back; pods can be made to refuse. */
export class CountingLane implements Lane {
  readonly inflight = new Map<number, number>()
  readonly pending = new Map<number, number>()
  readonly active = new Map<number, number>()
  readonly refuse = new Map<number, number>()
  readonly samples: { ref: number; ms: number }[] = []
  readonly outcomes: { ref: number; outcome: number }[] = []
  /** The pod that a claimed session is on, if another thread came first. */
  claimedBy = -1
  booked = 0
  /** The bounds that bookings were asked with. */
  readonly bounds: number[] = []
  /** Tokens of each prompt that bookings find uncached; 2 more they count in the KV cache. */
  uncached = 7
  /** What the prompt was counted to have. */
  promptTokens = 0
  /** How `checkUsage` answers. */
  usageResult: number = USAGE.agrees
  readonly usages: { ticket: number; promptTokens: number }[] = []
  /** Pods whose answers are wanted. */
  readonly predicted = new Set<number>()
  readonly learned: { ticket: number; ref: number; events: boolean; text: string }[] = []
  /** What `learnAnswer` waits for. */
  learning: Promise<void> = Promise.resolve()
  cacheMode = 0

  book(_ticket: number, wanted: number, bound: number, flags: number, out: Uint32Array): number {
    this.bounds.push(bound)
    const code = this.refuse.get(wanted)
    if (code !== undefined) return code
    const ref = (flags & 2) !== 0 && this.claimedBy >= 0 ? this.claimedBy : wanted
    this.booked++
    this.inflight.set(ref, (this.inflight.get(ref) ?? 0) + 1)
    this.pending.set(ref, (this.pending.get(ref) ?? 0) + this.uncached)
    this.active.set(ref, (this.active.get(ref) ?? 0) + this.uncached + 2)
    out.set([this.uncached, this.uncached + 2])
    return ref
  }
  firstByte(ref: number, ms: number, pendingTokens: number): void {
    if (ms >= 0) this.samples.push({ ref, ms })
    this.pending.set(ref, (this.pending.get(ref) ?? 0) - pendingTokens)
  }
  grow(ref: number, tokens: number): void {
    this.active.set(ref, (this.active.get(ref) ?? 0) + tokens)
  }
  release(ref: number, pendingTokens: number, activeTokens: number, outcome: number): void {
    this.active.set(ref, (this.active.get(ref) ?? 0) - activeTokens)
    this.outcomes.push({ ref, outcome })
    this.inflight.set(ref, (this.inflight.get(ref) ?? 0) - 1)
    this.pending.set(ref, (this.pending.get(ref) ?? 0) - pendingTokens)
  }
  get idle(): boolean {
    return [this.inflight, this.pending, this.active].flatMap(of => [...of.values()]).every(n => n === 0)
  }

  scan = () => 0
  prepare = () => 0
  prepareAsync = () => Promise.resolve(0)
  lastError = () => ''
  summary(ticket: number, out: Uint32Array): void {
    out.fill(0)
    out[SUMMARY.promptTokens] = ticket === 0 ? 0 : this.promptTokens
    out[SUMMARY.exact] = this.exact ? 1 : 0
  }
  cachedTokens = () => 0
  ranked = () => 0
  /** The prompt's ids. */
  ids = new Uint32Array()
  /** All of them are known. */
  exact = true
  tokens = () => this.ids
  hashes = () => new BigUint64Array()
  setSession = () => 0
  sessionPod = () => -1
  recall = () => -1
  remember = () => {}
  loads = () => 0
  cursor = () => 0
  readonly dropped: number[] = []
  drop = (ticket: number) => void this.dropped.push(ticket)
  shape = () => 'chat'
  cacheHint(ticket: number, _ref: number, out: Uint32Array): boolean {
    if (ticket === 0) return false
    out.set([this.promptTokens, 0, 0, this.promptTokens, 16, this.cacheMode])
    return true
  }
  checkUsage(ticket: number, promptTokens: number): number {
    this.usages.push({ ticket, promptTokens })
    return this.usageResult
  }
  wantsAnswer = (_ticket: number, ref: number) => this.predicted.has(ref)
  async learnAnswer(ticket: number, ref: number, events: boolean, pieces: Uint8Array[]): Promise<void> {
    this.learned.push({ ticket, ref, events, text: Buffer.concat(pieces).toString() })
    await this.learning
  }
}

const unused = (): never => {
  throw new Error('not part of these tests')
}
export const state: SharedState = {
  width: 64,
  addPod: unused,
  activatePod: unused,
  cordonPod: unused,
  removePod: unused,
  releasePod: unused,
  podStatus: unused,
  addModel: unused,
  addModelAsync: unused,
  loadModel: unused,
  modelFallback: unused,
  now: unused,
  setTime: unused,
  stats: unused,
  forgetPredicted: unused,
  podLost: unused,
  setPodCache: unused,
  setEngineLoad: unused,
  cacheStatus: unused,
  setChains: unused,
  clearPredicted: unused,
}

class NoIndex implements PrefixIndex {
  readonly width = 64
  addPod = unused
  removePod = unused
  store = unused
  remove = unused
  clear = unused
  query = unused
  entries = unused
}

class NoFeed implements EventFeed {
  receive = unused
  receiveAll = unused
  connected = unused
  disconnected = unused
  wants = unused
  replayed = unused
  replayDone = unused
  replayFailed = unused
  notice = unused
  rankOf = unused
  close = unused
}

export function addonWith(lane: CountingLane): NativeAddon {
  class GivenLane extends CountingLane {
    constructor() {
      super()
      // biome-ignore lint/correctness/noConstructorReturn: whoever makes a lane gets the one that the test watches.
      return lane
    }
  }
  return {
    SharedState: { open: () => state, close: unused },
    Lane: GivenLane,
    EventFeed: NoFeed,
    PrefixIndex: NoIndex,
    hashBlocks: unused,
    renderTemplate: unused,
    Tokenizer: { load: unused },
    version: () => 'test',
  }
}
