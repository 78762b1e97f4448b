/**
 * The engine: continuous batching over a block cache, after vLLM's V1 scheduler. Pure and driven by its caller's
 * clock: no timers, no I/O, no randomness, so that the same code serves in real time and in virtual time.
 *
 * Each step gives running requests their next tokens first, then admits waiting ones in order of arrival, within
 * `maxBatch` requests and `maxBatchedTokens` tokens; long prefills are cut into chunks. If blocks run out, the
 * youngest running request loses its place and its blocks and starts over from what is still cached.
 */
import { BlockCache } from './block-cache.js'
import type { CacheListener } from './cache-listener.js'
import type { EngineParameters } from './parameters.js'
import type { EngineEvent, EngineRequest, EngineStats } from './request.js'
import { Sequence } from './sequence.js'
import { stepMs } from './step-time.js'

interface Work {
  readonly sequence: Sequence
  readonly tokens: number
  readonly context: number
}

interface Step {
  readonly work: readonly Work[]
  readonly endsAt: number
}

export class Engine {
  private readonly cache: BlockCache
  private readonly sequences = new Map<string, Sequence>()
  /** Finished ones whose blocks another engine is to read. */
  private readonly held = new Map<string, Sequence>()
  /** Those that have their blocks, and wait for what another engine hands over. */
  private readonly pulling = new Map<string, Sequence>()
  private waiting: Sequence[] = []
  private running: Sequence[] = []
  private step: Step | null = null
  /** The latest time seen: the model never goes back. */
  private clock = 0
  /** When work first arrived at an idle engine. */
  private wakeAt = Number.POSITIVE_INFINITY
  private readonly totals = {
    prefixQueries: 0,
    prefixHits: 0,
    remoteTokens: 0,
    promptTokens: 0,
    generationTokens: 0,
    finished: 0,
    aborted: 0,
    preemptions: 0,
    steps: 0,
    busyMs: 0,
  }

  constructor(
    readonly parameters: EngineParameters,
    private readonly listener: CacheListener | null = null,
  ) {
    this.cache = new BlockCache(parameters.blocks, listener)
  }

  /** Most tokens, prompt and output together, that one request can have. */
  get capacityTokens(): number {
    return this.parameters.blocks * this.parameters.blockSize
  }

  /**
   * Queues a request. Throws a RangeError if it could never run (more tokens than the cache holds) or is no request,
   * an Error if the id is taken.
   */
  submit(request: EngineRequest, now: number): void {
    const { id, promptTokens, outputTokens } = request
    if (!(promptTokens >= 1) || !(outputTokens >= 0)) {
      throw new RangeError(`request ${id} has ${promptTokens} prompt and ${outputTokens} output tokens`)
    }
    if (promptTokens + outputTokens > this.capacityTokens) {
      throw new RangeError(
        `request ${id} needs ${promptTokens + outputTokens} tokens of KV cache, the engine has ${this.capacityTokens}`,
      )
    }
    if (this.sequences.has(id) || this.held.has(id)) throw new Error(`request ${id} is already in the engine`)
    this.tick(now)
    const sequence = new Sequence(request, this.clock, this.parameters.blockSize)
    this.sequences.set(id, sequence)
    this.waiting.push(sequence)
    if (this.step === null) this.wakeAt = Math.min(this.wakeAt, this.clock)
  }

  /** Takes a request out, wherever it is, and frees its blocks at once. False if it is not there (any more). */
  abort(id: string, now: number): boolean {
    const sequence = this.sequences.get(id)
    if (sequence === undefined) return false
    this.tick(now)
    this.totals.aborted++
    this.waiting = this.waiting.filter(other => other !== sequence)
    this.running = this.running.filter(other => other !== sequence)
    this.pulling.delete(id)
    this.leave(sequence)
    // Its blocks may be what the next one waits for.
    if (this.step === null && this.waiting.length > 0) this.wakeAt = Math.min(this.wakeAt, this.clock)
    if (this.step === null && this.sequences.size === 0) this.wakeAt = Number.POSITIVE_INFINITY
    return true
  }

  /** Gives back the blocks that a finished request holds. False if it holds none (any more). */
  release(id: string, now: number): boolean {
    const sequence = this.held.get(id)
    if (sequence === undefined) return false
    this.tick(now)
    this.held.delete(id)
    sequence.giveBack(this.cache)
    if (this.step === null && this.waiting.length > 0) this.wakeAt = Math.min(this.wakeAt, this.clock)
    return true
  }

  /** What was `reserved` for is here. False if nobody waits for it (any more). */
  received(id: string, now: number): boolean {
    const sequence = this.pulling.get(id)
    if (sequence === undefined) return false
    this.tick(now)
    this.totals.remoteTokens += sequence.takeRemote()
    sequence.isLoaded = true
    this.waitAgain(sequence)
    return true
  }

  /** Nothing will come of what a request is to pull: it computes its prompt itself. False if it does not wait for it. */
  loseRemote(id: string, now: number): boolean {
    const sequence = this.sequences.get(id)
    if (sequence === undefined || !sequence.awaitsPull) return false
    this.tick(now)
    sequence.isRemoteLost = true
    if (!this.pulling.has(id)) return true
    sequence.giveBack(this.cache)
    this.waitAgain(sequence)
    return true
  }

  /** Prompt tokens that a request with these keys would find cached now. */
  cachedTokens(keys: Float64Array, promptTokens: number): number {
    const { blockSize } = this.parameters
    return this.cache.cachedPrefix(keys, Math.floor((promptTokens - 1) / blockSize)) * blockSize
  }

  /** When `advance` next has something to do; infinity while idle. */
  nextEventAt(): number {
    return this.step === null ? this.wakeAt : this.step.endsAt
  }

  /** Runs the model up to `now` and tells what happened. */
  advance(now: number): EngineEvent[] {
    const events: EngineEvent[] = []
    for (let at = this.nextEventAt(); at <= now; at = this.nextEventAt()) {
      this.clock = Math.max(this.clock, at)
      if (this.step !== null) this.finishStep(this.step, events)
      this.startStep(at, events)
    }
    this.tick(now)
    return events
  }

  /** Forgets all cached prefixes; false while requests hold blocks. */
  resetCache(): boolean {
    return this.cache.reset()
  }

  /** Copies of each named block: what a listener's own account must come to once the step under way is done. */
  cachedCopies(): Map<number, number> {
    return this.cache.copies()
  }

  stats(): EngineStats {
    return {
      waiting: this.waiting.length,
      running: this.running.length,
      blocks: this.cache.capacity,
      usedBlocks: this.cache.used,
      cachedBlocks: this.cache.cached,
      evictedBlocks: this.cache.evicted,
      holding: this.held.size,
      pulling: this.pulling.size,
      ...this.totals,
    }
  }

  private tick(now: number): void {
    this.clock = Math.max(this.clock, now)
  }

  /** It has had its turn already, and comes before those that have not. */
  private waitAgain(sequence: Sequence): void {
    this.pulling.delete(sequence.request.id)
    this.waiting.unshift(sequence)
    if (this.step === null) this.wakeAt = Math.min(this.wakeAt, this.clock)
  }

  private startStep(at: number, events: EngineEvent[]): void {
    this.wakeAt = Number.POSITIVE_INFINITY
    const work: Work[] = []
    const left = this.scheduleRunning(work, this.parameters.maxBatchedTokens)
    this.admitWaiting(work, left, at, events)
    if (work.length === 0) {
      const next = this.waiting[0]
      // Blocks that are held for another engine, or wait for one, come back by a call that wakes this one.
      const isWoken = this.held.size + this.pulling.size > 0
      if (next === undefined || (next.arrivedAt <= at && isWoken)) return
      if (next.arrivedAt <= at) throw new Error('unreachable: requests in the engine, and none can run')
      this.wakeAt = next.arrivedAt
      return
    }
    const duration = stepMs(work, this.parameters)
    this.totals.steps++
    this.totals.busyMs += duration
    this.step = { work, endsAt: at + duration }
  }

  /** Next tokens for those that run, oldest first. Answers what is left of the budget; 0 if one was preempted. */
  private scheduleRunning(work: Work[], budget: number): number {
    let left = budget
    let isPreempted = false
    for (let i = 0; i < this.running.length && left > 0; i++) {
      const sequence = this.running[i]
      if (sequence === undefined) break
      const tokens = Math.min(sequence.missing, left)
      while (this.running[i] === sequence && !sequence.reserve(tokens, this.cache)) {
        this.preemptYoungest()
        isPreempted = true
      }
      if (this.running[i] !== sequence) break
      work.push({ sequence, tokens, context: sequence.computed })
      left -= tokens
    }
    return isPreempted ? 0 : left
  }

  private preemptYoungest(): void {
    const victim = this.running.pop()
    if (victim === undefined) throw new Error('unreachable: nobody to preempt')
    this.totals.preemptions++
    victim.preempt(this.cache)
    this.waiting.unshift(victim)
  }

  /**
   * Admits in order of arrival and stops at the first that does not fit: nobody overtakes. A caller whose timer fired
   * late runs steps of the past, in which requests that have arrived since must not take part.
   */
  private admitWaiting(work: Work[], budget: number, at: number, events: EngineEvent[]): void {
    let left = budget
    while (left > 0 && this.running.length < this.parameters.maxBatch) {
      const sequence = this.waiting[0]
      if (sequence === undefined || sequence.arrivedAt > at) return
      const isPull = sequence.awaitsPull
      const tokens = this.makeRoom(sequence, isPull ? sequence.request.promptTokens : left)
      if (tokens < 0) return
      this.waiting.shift()
      if (isPull) {
        this.pulling.set(sequence.request.id, sequence)
        events.push({ type: 'reserved', id: sequence.request.id, at, missing: sequence.missing })
        continue
      }
      this.running.push(sequence)
      work.push({ sequence, tokens, context: sequence.computed })
      left -= tokens
    }
  }

  /** Blocks for what is cached and `most` tokens more; answers how many more these are, -1 if there is no room. */
  private makeRoom(sequence: Sequence, most: number): number {
    // Room was made when it was reserved, the last token's included.
    if (sequence.isLoaded) return Math.min(sequence.missing, most)
    const isFirstTime = sequence.cachedTokens === null
    sequence.takeCached(this.cache)
    const remote = sequence.awaitsPull ? 0 : sequence.takeRemote()
    const tokens = Math.min(sequence.missing, most)
    if (!sequence.reserve(tokens, this.cache)) {
      sequence.giveBack(this.cache)
      if (isFirstTime) sequence.cachedTokens = null
      return -1
    }
    if (isFirstTime) {
      this.totals.prefixQueries += sequence.request.promptTokens
      this.totals.prefixHits += sequence.cachedTokens ?? 0
      this.totals.remoteTokens += remote
    }
    return tokens
  }

  private finishStep(step: Step, events: EngineEvent[]): void {
    this.step = null
    for (const { sequence, tokens } of step.work) {
      if (!sequence.isGone) this.advanceSequence(sequence, tokens, step.endsAt, events)
    }
    this.running = this.running.filter(sequence => !sequence.isGone)
    this.listener?.stepDone()
  }

  private advanceSequence(sequence: Sequence, tokens: number, at: number, events: EngineEvent[]): void {
    const { id, promptTokens, outputTokens } = sequence.request
    const stored = sequence.compute(tokens, this.cache)
    const { namedBlocks } = sequence
    if (stored > 0) this.listener?.stored(sequence.request, namedBlocks - stored, namedBlocks)
    if (sequence.missing > 0) return
    if (sequence.generated === 0) this.totals.promptTokens += promptTokens
    if (outputTokens > 0) {
      const index = sequence.generated++
      this.totals.generationTokens++
      if (index === 0) events.push({ type: 'first-token', id, at })
      else events.push({ type: 'token', id, at, index })
    }
    if (sequence.generated < outputTokens) return
    this.totals.finished++
    const { preemptions, cachedTokens } = sequence
    const heldBlocks = sequence.request.holdsBlocks === true ? this.hold(sequence) : []
    if (heldBlocks.length === 0) this.leave(sequence)
    events.push({ type: 'finished', id, at, cachedTokens: cachedTokens ?? 0, preemptions, heldBlocks })
  }

  private leave(sequence: Sequence): void {
    sequence.isGone = true
    sequence.giveBack(this.cache)
    this.sequences.delete(sequence.request.id)
  }

  private hold(sequence: Sequence): readonly number[] {
    const { id } = sequence.request
    sequence.isGone = true
    this.sequences.delete(id)
    this.held.set(id, sequence)
    return sequence.heldBlocks
  }
}
