/**
 * What the router reads in the answers that it relays, off the relay path: the engine's own count of the prompt, and
 * the answer's tokens, which a pod without events keeps in its cache like the prompt's. While an answer is relayed only
 * references are noted (and small pieces of a predicted pod's answer copied); everything else waits until the last
 * byte has gone to the client, and nothing that fails here is the request's failure.
 */
import { type CacheModeName, cacheHintOf } from '../data/cache-hint.js'
import {
  type BodyKind,
  type Lane,
  NO_TICKET,
  SUMMARY,
  SUMMARY_WORDS,
  type Ticket,
  USAGE,
} from '../data/native.js'
import { runsOtherFiles } from '../data/pod-view.js'
import type { RoutingContext } from '../decision/context.js'
import { AnswerReader } from './answer-reader.js'
import { AnswerRoom, KeptAnswer } from './kept-answer.js'
import { type AnswerToLearn, LearnQueue } from './learn-queue.js'
import type { Lease } from './lease.js'
import { isSingle } from './single-answer.js'
import type { Usage } from './usage.js'

/** The engine's count of a prompt beside the router's. */
export interface UsageCheck {
  /**
   * A USAGE code; undefined where there is nothing to compare: the prompt went out as ids, so that the engine had
   * nothing to count, or the pod runs other files than the model's own, by which the router counted.
   */
  readonly result: number | undefined
  readonly usage: Usage
  /** The router's count. */
  readonly promptTokens: number
  /** Of those, tokens that the pod was expected to have cached when it was booked, and how that was known. */
  readonly cachedTokens: number
  readonly mode: CacheModeName
}

/**
 * What became of an answer kept for learning: all of it was learned, its beginning, or nothing as there was no room;
 * or learning failed, which is a fault of ours.
 */
export const LEARNED = { whole: 0, beginning: 1, nothing: 2, failed: 3 } as const

/** Who is told, after the last byte went out. */
export interface AnswerEvents {
  onUsage(ctx: RoutingContext, lease: Lease, check: UsageCheck): void
  /** The engine told its counts; before `onUsage`, and also of requests that the router did not count itself. */
  onTold?(ctx: RoutingContext, usage: Usage): void
  /** `learned`: one of LEARNED. */
  onLearned(learned: number): void
  /** Reading or learning failed: a fault of ours, and not the request's. Must not throw. */
  onFault(error: unknown): void
}

/** What the relay knows of an answer before its first byte. */
export interface AnswerHeadline {
  readonly status: number
  /** A stream of events in plain text. */
  readonly events: boolean
  /** Compressed, so that nothing in it can be read. */
  readonly encoded: boolean
}

/**
 * Answers whose counts are compared in a tick of a tenth of a second. A comparison costs some 5 µs, which at the 8,000
 * short requests a second that a worker can serve would be 4 % of its time; 500 a second are 0.3 %, and for counts and
 * ratios a sample as good as any.
 */
const CHECKS_A_TICK = 50

/** One per worker. */
export class Answers {
  readonly #words = new Uint32Array(SUMMARY_WORDS)
  readonly #queue: LearnQueue
  #tick = -1
  #checks = 0

  constructor(
    private readonly lane: Lane,
    private readonly events: AnswerEvents,
    private readonly clock: { readonly tick: number },
    private readonly room = new AnswerRoom(),
  ) {
    this.#queue = new LearnQueue(lane, (answer, error) => this.#learned(answer, error))
  }

  /**
   * Called with the head of an answer that is to be relayed; undefined if there is nothing to read in it. `asTokens`:
   * the prompt was sent as ids.
   */
  open(ctx: RoutingContext, lease: Lease, head: AnswerHeadline, asTokens: boolean): AnswerReader | undefined {
    const { kind } = ctx.request
    const isSampled = ctx.trace !== undefined
    if (ctx.ticket === NO_TICKET && !isSampled) return undefined
    if (head.status !== 200 || head.encoded || !isRead(kind)) return undefined
    const isKept = isLearned(kind) && isSingle(ctx) && this.lane.wantsAnswer(ctx.ticket, lease.ref)
    const isChecked = this.#mayCheck() || isSampled
    if (!isKept && !isChecked) return undefined
    const kept = isKept ? new KeptAnswer(this.room) : undefined
    return new AnswerReader(this, ctx, lease, { events: head.events, asTokens, isChecked }, kept)
  }

  /** Compares what the engine counted; a no-op where it did not tell. */
  check(ctx: RoutingContext, lease: Lease, usage: Usage | undefined, asTokens: boolean): void {
    if (usage === undefined) return
    this.events.onTold?.(ctx, usage)
    const { ticket } = ctx
    if (ticket === NO_TICKET) return
    // Of a prompt that another pod computed, what is cached here says nothing of what was expected here.
    const told = lease.isPrefilledElsewhere ? { ...usage, cachedTokens: -1 } : usage
    const { promptTokens, cachedTokens } = told
    const isOwnCount = !asTokens && !runsOtherFiles(lease.pod)
    const result = isOwnCount ? this.lane.checkUsage(ticket, promptTokens) : undefined
    if (result !== undefined && result !== USAGE.estimated) ctx.forwarding?.judged(result === USAGE.agrees)
    const isCompared = cachedTokens >= 0 && result !== USAGE.estimated
    const mode = (isCompared ? cacheHintOf(this.lane, ticket, lease.ref)?.mode : undefined) ?? 'predicted'
    const counted = this.#promptTokens(ticket)
    const expected = Math.max(counted - lease.uncachedTokens, 0)
    this.events.onUsage(ctx, lease, {
      result,
      usage: told,
      promptTokens: counted,
      cachedTokens: expected,
      mode,
    })
  }

  /** Hands a kept answer over to be learned, and the ticket with it; their memory is held until that is done. */
  learn(ctx: RoutingContext, lease: Lease, events: boolean, kept: KeptAnswer): void {
    // The beginning of a stream can be read, that of a JSON can't.
    const isReadable = !kept.isEmpty && (!kept.cut || events)
    const promptTokens = this.#promptTokens(ctx.ticket)
    if (isReadable && this.#queue.admits(promptTokens)) {
      this.#queue.add({ ticket: ctx.takeTicket(), promptTokens, ref: lease.ref, events, kept })
    } else {
      kept.release()
      this.events.onLearned(LEARNED.nothing)
    }
  }

  /** Does what comes after an answer, of which no fault may reach the request. False: it failed. */
  safely(work: () => void): boolean {
    try {
      work()
      return true
    } catch (error) {
      this.events.onFault(error)
      return false
    }
  }

  #learned({ kept }: AnswerToLearn, error: unknown): void {
    const learned = kept.cut ? LEARNED.beginning : LEARNED.whole
    kept.release()
    this.events.onLearned(error === undefined ? learned : LEARNED.failed)
    if (error !== undefined) this.events.onFault(error)
  }

  #promptTokens(ticket: Ticket): number {
    this.lane.summary(ticket, this.#words)
    return this.#words[SUMMARY.promptTokens] ?? 0
  }

  #mayCheck(): boolean {
    if (this.#tick !== this.clock.tick) {
      this.#tick = this.clock.tick
      this.#checks = 0
    }
    return this.#checks++ < CHECKS_A_TICK
  }
}

const isRead = (kind: BodyKind): boolean => kind === 'chat' || kind === 'completions' || kind === 'responses'
const isLearned = (kind: BodyKind): boolean => kind === 'chat' || kind === 'completions'
