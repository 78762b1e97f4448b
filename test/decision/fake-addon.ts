/**
 * The native addon's contract in a page of TypeScript, for tests of decisions alone: loads and caches are whatever the
 * test says, sessions and cursors are shared by all lanes of a fleet, booking checks what the real one checks.
 */
import {
  BOOK,
  CACHE,
  CACHE_MODE,
  isPodRef,
  type Lane,
  LOAD,
  LOAD_COLUMNS,
  MAX_SLOTS,
  type NativeAddon,
  type PodRef,
  REFUSED,
  type SharedState,
  SUMMARY,
  USAGE,
} from '#phyllo/data/native.js'

export function refOf(slot: number, generation = 1): PodRef {
  const ref = generation * MAX_SLOTS + slot
  if (!isPodRef(ref)) throw new Error('a slot is not negative')
  return ref
}

/** What all lanes share. Tests set the columns; booking and releasing change them too. */
export class FakeFleet {
  readonly loads: Float64Array
  readonly cursors = new Map<number, number>()
  readonly sessions = new Map<string, PodRef>()
  /** What the next `prepare` finds: cached tokens by slot, the prompt's length. */
  cached = new Map<number, number>()
  promptTokens = 1000
  /** Milliseconds of the workers' clocks. */
  now = 0
  /** How the pods' caches are known, by slot; predicted unless set. */
  modes = new Map<number, number>()
  /** What is known of the pods' caches, by slot: blocks held and room for, of 16 tokens unless said otherwise. */
  readonly caches = new Map<number, { held: number; room: number; blockSize?: number }>()
  /** What `prepare` answers -1 with; undefined: it succeeds. */
  failure: string | undefined

  constructor(readonly width: number) {
    this.loads = new Float64Array(width * LOAD_COLUMNS)
    for (let slot = 0; slot < width; slot++) {
      this.set('ready', slot, 1)
      this.set('warmth', slot, 1)
    }
  }

  /**
   * `requests` follows `inflight`: it is set itself only to say that the pod's metrics report more than was booked here.
   */
  set(column: keyof typeof LOAD, slot: number, value: number): void {
    if (column === 'inflight') this.#add('requests', slot, value - this.get('inflight', slot))
    this.loads[LOAD[column] * this.width + slot] = value
  }

  /** Sets a column of the first pods. */
  setAll(column: keyof typeof LOAD, values: readonly number[]): void {
    for (const [slot, value] of values.entries()) this.set(column, slot, value)
  }

  get(column: keyof typeof LOAD, slot: number): number {
    return this.loads[LOAD[column] * this.width + slot] ?? 0
  }

  addon(): NativeAddon {
    return fakeAddon(this)
  }

  #add(column: keyof typeof LOAD, slot: number, value: number): void {
    this.set(column, slot, this.get(column, slot) + value)
  }
}

interface Prepared {
  cached: Uint32Array
  length: number
  session: string | undefined
  /** Where the decision saw the session: whoever knows where it lives may move it. */
  seen: number
}

/** One thread's lane of a fleet. `calls` counts native calls by name. */
export class FakeLane implements Lane {
  readonly calls = new Map<string, number>()
  readonly #fleet: FakeFleet
  readonly #tickets = new Map<number, Prepared>()
  #next = 1

  constructor(fleet: FakeFleet) {
    this.#fleet = fleet
  }

  /** Gives numbers from 1 again, as a slab does with freed ones. */
  renumber(): void {
    this.#next = 1
  }

  get tickets(): number {
    return this.#tickets.size
  }

  scan(): number {
    return 0
  }
  prepare(): number {
    this.#count('prepare')
    if (this.#fleet.failure !== undefined) return -1
    return this.#ticket({
      cached: this.#cached(),
      length: this.#fleet.promptTokens,
      session: undefined,
      seen: -1,
    })
  }
  async prepareAsync(): Promise<number> {
    this.#count('prepareAsync')
    return this.prepare()
  }
  lastError(): string {
    return this.#fleet.failure ?? ''
  }
  summary(ticket: number, out: Uint32Array): void {
    out.fill(0)
    out[SUMMARY.promptTokens] = this.#tickets.get(ticket)?.length ?? 0
    out[SUMMARY.exact] = 1
    out[SUMMARY.blockSize] = 16
  }
  cachedTokens(ticket: number, out: Uint32Array): number {
    this.#count('cachedTokens')
    const cached = this.#tickets.get(ticket)?.cached
    if (cached === undefined) out.fill(0)
    else out.set(cached)
    return 0
  }
  ranked(): number {
    return 0
  }
  tokens(ticket: number): Uint32Array {
    return new Uint32Array(this.#tickets.get(ticket)?.length ?? 0)
  }
  hashes(): BigUint64Array {
    return new BigUint64Array(0)
  }
  setSession(ticket: number, key: string): number {
    const prepared = this.#tickets.get(ticket)
    if (prepared === undefined)
      return this.#ticket({ cached: new Uint32Array(this.#fleet.width), length: 0, session: key, seen: -1 })
    prepared.session = key
    return ticket
  }
  sessionPod(ticket: number): number {
    const prepared = this.#tickets.get(ticket)
    const pod = this.#fleet.sessions.get(prepared?.session ?? '') ?? -1
    if (prepared !== undefined) prepared.seen = pod
    return pod
  }
  recall(): number {
    return -1
  }
  remember(): void {}
  loads(out: Float64Array): number {
    this.#count('loads')
    out.set(this.#fleet.loads)
    return this.#fleet.width
  }
  cursor(name: number): number {
    const value = this.#fleet.cursors.get(name) ?? 0
    this.#fleet.cursors.set(name, value + 1)
    return value
  }
  book(ticket: number, wanted: number, bound: number, flags: number): number {
    const prepared = this.#tickets.get(ticket)
    const session = (flags & BOOK.claimSession) === 0 ? undefined : prepared?.session
    const home = this.#fleet.sessions.get(session ?? '')
    const ref = home !== undefined && home !== prepared?.seen ? home : wanted
    const slot = ref % MAX_SLOTS
    const inflight = this.#fleet.get('inflight', slot)
    if (this.#fleet.get('ready', slot) !== 1) return REFUSED.gone
    if (bound > 0 && inflight >= bound) return REFUSED.full
    this.#fleet.set('inflight', slot, inflight + 1)
    if (session !== undefined && isPodRef(ref)) this.#fleet.sessions.set(session, ref)
    return ref
  }
  firstByte(): void {}
  grow(): void {}
  release(ref: number): void {
    const slot = ref % MAX_SLOTS
    this.#fleet.set('inflight', slot, this.#fleet.get('inflight', slot) - 1)
  }
  drop(ticket: number): void {
    this.#tickets.delete(ticket)
  }
  cacheHint(ticket: number, ref: number, out: Uint32Array): boolean {
    const prepared = this.#tickets.get(ticket)
    if (prepared === undefined) return false
    const slot = ref % MAX_SLOTS
    const mode = this.#fleet.modes.get(slot) ?? CACHE_MODE.predicted
    const cached = prepared.cached[slot] ?? 0
    const [gpu, predicted] = mode === CACHE_MODE.predicted ? [0, cached] : [cached, 0]
    out.set([prepared.length, gpu, 0, predicted, 16, mode])
    return true
  }
  checkUsage(): number {
    return USAGE.estimated
  }
  shape(): string {
    return 'chat'
  }
  async learnAnswer(): Promise<void> {}
  wantsAnswer(): boolean {
    return false
  }

  #cached(): Uint32Array {
    const cached = new Uint32Array(this.#fleet.width)
    for (const [slot, tokens] of this.#fleet.cached) cached[slot] = tokens
    return cached
  }
  #ticket(prepared: Prepared): number {
    this.#tickets.set(this.#next, prepared)
    return this.#next++
  }
  #count(name: string): void {
    this.calls.set(name, (this.calls.get(name) ?? 0) + 1)
  }
}

const notHere = (name: string) => (): never => {
  throw new Error(`the fake addon has no ${name}`)
}

function fakeAddon(fleet: FakeFleet): NativeAddon {
  class LaneOfFleet extends FakeLane {
    constructor(_state: SharedState) {
      super(fleet)
    }
  }
  return {
    SharedState: { open: notHere('SharedState'), close: notHere('SharedState') },
    Lane: LaneOfFleet,
    EventFeed: class {
      receive = notHere('EventFeed')
      receiveAll = notHere('EventFeed')
      connected = notHere('EventFeed')
      disconnected = notHere('EventFeed')
      wants = notHere('EventFeed')
      replayed = notHere('EventFeed')
      replayDone = notHere('EventFeed')
      replayFailed = notHere('EventFeed')
      notice = notHere('EventFeed')
      rankOf = notHere('EventFeed')
      close = notHere('EventFeed')
    },
    PrefixIndex: class {
      width = 0
      addPod = notHere('PrefixIndex')
      removePod = notHere('PrefixIndex')
      store = notHere('PrefixIndex')
      remove = notHere('PrefixIndex')
      clear = notHere('PrefixIndex')
      query = notHere('PrefixIndex')
      entries = notHere('PrefixIndex')
    },
    hashBlocks: notHere('hashBlocks'),
    renderTemplate: notHere('renderTemplate'),
    Tokenizer: { load: notHere('Tokenizer') },
    version: () => 'fake',
  }
}

/** A state of which a lane needs no more than the width. */
export function fakeState(width: number, fleet?: FakeFleet): SharedState {
  return {
    width,
    addPod: notHere('addPod'),
    activatePod: notHere('activatePod'),
    cordonPod: notHere('cordonPod'),
    removePod: notHere('removePod'),
    releasePod: notHere('releasePod'),
    podStatus: notHere('podStatus'),
    addModel: notHere('addModel'),
    addModelAsync: notHere('addModelAsync'),
    loadModel: notHere('loadModel'),
    modelFallback: notHere('modelFallback'),
    now: () => 0,
    setTime: notHere('setTime'),
    stats: notHere('stats'),
    forgetPredicted: notHere('forgetPredicted'),
    podLost: notHere('podLost'),
    setPodCache: notHere('setPodCache'),
    setEngineLoad: notHere('setEngineLoad'),
    cacheStatus(ref, out) {
      const cache = fleet?.caches.get(ref % MAX_SLOTS)
      out.fill(0)
      if (cache === undefined) return false
      out[CACHE.blocks] = cache.held
      out[CACHE.capacity] = cache.room
      out[CACHE.blockSize] = cache.blockSize ?? 16
      return true
    },
    setChains: notHere('setChains'),
    clearPredicted: notHere('clearPredicted'),
  }
}
