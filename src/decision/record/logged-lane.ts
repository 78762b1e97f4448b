/**
 * The native core's contract over a line of the decision log: what a decision saw is read from the record instead of
 * from the state. So a compiled profile decides on it as it would in a router, without a word of its plugins' own.
 */
import {
  CACHE,
  CACHE_MODE,
  HINT,
  type Lane,
  LOAD,
  MAX_SLOTS,
  NO_TICKET,
  REFUSED,
  SUMMARY,
  USAGE,
} from '../../data/native.js'
import { LOAD_NAMES } from '../pod-state.js'
import { type DecisionRecord, USUAL_LOAD } from './schema.js'

/** The ticket of the one request there is. */
const TICKET = 1

/** Where a session lives. */
export interface LoggedSessions {
  /** A PodRef, or -1. */
  podOf(key: string): number
}

export class LoggedLane implements Lane {
  #record: DecisionRecord | undefined
  #session: string | undefined

  constructor(private readonly sessions: LoggedSessions) {}

  /** From here on all answers are about this record. */
  show(record: DecisionRecord): void {
    this.#record = record
    this.#session = undefined
  }

  loads(out: Float64Array): number {
    out.fill(0)
    const width = out.length / LOAD_NAMES.length
    const pods = this.#record?.pods
    for (const name of LOAD_NAMES) {
      const column = pods?.load[name]
      for (const [i, slot] of (pods?.slot ?? []).entries()) {
        out[LOAD[name] * width + slot] = column === undefined ? USUAL_LOAD[name] : (column[i] ?? 0)
      }
    }
    return width
  }

  cachedTokens(ticket: number, out: Uint32Array): number {
    out.fill(0)
    const pods = this.#record?.pods
    if (ticket === NO_TICKET || pods?.cached == null) return 0
    for (const [i, slot] of pods.slot.entries()) out[slot] = pods.cached[i] ?? 0
    return Math.max(...pods.cached)
  }

  summary(ticket: number, out: Uint32Array): void {
    out.fill(0)
    const prompt = this.#record?.prompt
    if (ticket === NO_TICKET || prompt === undefined) return
    out[SUMMARY.promptTokens] = prompt.tokens
    out[SUMMARY.exact] = prompt.exact ? 1 : 0
    out[SUMMARY.blocks] = prompt.blocks
    out[SUMMARY.blockSize] = prompt.blockSize
  }

  cacheHint(ticket: number, ref: number, out: Uint32Array): boolean {
    const pods = this.#record?.pods
    const at = pods?.slot.indexOf(ref % MAX_SLOTS) ?? -1
    if (pods === undefined || ticket === NO_TICKET || at < 0) return false
    const source = pods.cache?.source[at] ?? 'predicted'
    const cached = pods.cached?.[at] ?? 0
    out.fill(0)
    out[HINT.prompt] = this.#record?.prompt.tokens ?? 0
    out[source === 'predicted' ? HINT.predicted : HINT.gpu] = cached
    out[HINT.blockSize] = this.#record?.prompt.blockSize ?? 0
    out[HINT.mode] = CACHE_MODE[source]
    return true
  }

  /** What SharedState.cacheStatus would have said of the pod at that time, as far as the log knows. */
  cacheStatus(ref: number, out: Float64Array): boolean {
    const pods = this.#record?.pods
    const at = pods?.slot.indexOf(ref % MAX_SLOTS) ?? -1
    if (pods === undefined || at < 0) return false
    const { cache } = pods
    out.fill(0)
    out[CACHE.mode] = CACHE_MODE[cache?.source[at] ?? 'predicted']
    out[CACHE.blocks] = cache?.blocks[at] ?? 0
    out[CACHE.predictedBlocks] = cache?.predictedBlocks[at] ?? 0
    out[CACHE.blockSize] = cache?.blockSize[at] ?? 0
    out[CACHE.capacity] = cache?.capacity[at] ?? 0
    out[CACHE.sequence] = -1
    return true
  }

  setSession(_ticket: number, key: string): number {
    this.#session = key
    return TICKET
  }
  sessionPod(ticket: number): number {
    return ticket === NO_TICKET || this.#session === undefined ? -1 : this.sessions.podOf(this.#session)
  }

  scan(): number {
    return 0
  }
  prepare(): number {
    return TICKET
  }
  async prepareAsync(): Promise<number> {
    return TICKET
  }
  lastError(): string {
    return ''
  }
  ranked(): number {
    return 0
  }
  /** The log holds no tokens and no hashes: nothing that ships scores by them. */
  tokens(): Uint32Array {
    return new Uint32Array(0)
  }
  hashes(): BigUint64Array {
    return new BigUint64Array(0)
  }
  recall(): number {
    return -1
  }
  remember(): void {}
  /** Turns come from the log, or from the replay's own counter. */
  cursor(): number {
    return 0
  }
  /** Nothing is booked. */
  book(): number {
    return REFUSED.gone
  }
  firstByte(): void {}
  grow(): void {}
  release(): void {}
  drop(): void {}
  checkUsage(): number {
    return USAGE.estimated
  }
  shape(): string {
    return this.#record?.prompt.shape ?? ''
  }
  async learnAnswer(): Promise<void> {}
  wantsAnswer(): boolean {
    return false
  }
}
