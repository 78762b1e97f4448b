/**
 * What the router reads in the answers that it relays, off the relay path: the engine's own count of the prompt, and
 * the answer's tokens, which a pod without events keeps in its cache like the prompt's. While an answer is relayed only
 * references are noted (and small pieces of a predicted pod's answer copied); everything else waits until the last
 * byte has gone to the client, and nothing that fails here is the request's failure.
 */
import { type CacheModeName, cacheHintOf } from '../data/cache-hint.js'
import { type BodyKind, type Lane, NO_TICKET, SUMMARY, SUMMARY_WORDS, USAGE } from '../data/native.js'
import type { RoutingContext } from '../decision/context.js'
import { AnswerRoom, KeptAnswer } from './kept-answer.js'
import type { Lease } from './lease.js'
import { findUsage, TAIL_BYTES, type Usage } from './usage.js'

/** The engine's count of a prompt beside the router's. */
export interface UsageCheck {
  /** A USAGE code; undefined where the prompt went out as ids, so that there was nothing for the engine to count. */
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

/** One per worker. */
export class Answers {
  readonly #words = new Uint32Array(SUMMARY_WORDS)

  constructor(
    private readonly lane: Lane,
    private readonly events: AnswerEvents,
    private readonly room = new AnswerRoom(),
  ) {}

  /**
   * Called with the head of an answer that is to be relayed; undefined if there is nothing to read in it. `asTokens`:
   * the prompt was sent as ids.
   */
  open(ctx: RoutingContext, lease: Lease, head: AnswerHeadline, asTokens: boolean): AnswerReader | undefined {
    const { kind } = ctx.request
    if (ctx.ticket === NO_TICKET || head.status !== 200 || head.encoded || !isRead(kind)) return undefined
    const isKept = isLearned(kind) && isSingle(ctx) && this.lane.wantsAnswer(ctx.ticket, lease.ref)
    const kept = isKept ? new KeptAnswer(this.room) : undefined
    return new AnswerReader(this, ctx, lease, head.events, asTokens, kept)
  }

  /** Compares what the engine counted; a no-op where it did not tell. */
  check(ctx: RoutingContext, lease: Lease, usage: Usage | undefined, asTokens: boolean): void {
    if (usage === undefined) return
    const { ticket } = ctx
    const { promptTokens, cachedTokens } = usage
    const result = asTokens ? undefined : this.lane.checkUsage(ticket, promptTokens)
    if (result !== undefined && result !== USAGE.estimated) ctx.forwarding?.judged(result === USAGE.agrees)
    const isCompared = cachedTokens >= 0 && result !== USAGE.estimated
    const mode = (isCompared ? cacheHintOf(this.lane, ticket, lease.ref)?.mode : undefined) ?? 'predicted'
    this.lane.summary(ticket, this.#words)
    const counted = this.#words[SUMMARY.promptTokens] ?? 0
    const expected = Math.max(counted - lease.uncachedTokens, 0)
    this.events.onUsage(ctx, lease, { result, usage, promptTokens: counted, cachedTokens: expected, mode })
  }

  /** Hands a kept answer to the thread pool; its memory is held until that is done with it. */
  learn(ctx: RoutingContext, lease: Lease, events: boolean, kept: KeptAnswer): void {
    // The beginning of a stream can be read, that of a JSON can't.
    if (kept.isEmpty || (kept.cut && !events)) {
      kept.release()
      this.events.onLearned(LEARNED.nothing)
      return
    }
    const learned = kept.cut ? LEARNED.beginning : LEARNED.whole
    this.#handOver(ctx, lease, events, kept).then(
      () => this.#learned(kept, learned),
      error => {
        this.#learned(kept, LEARNED.failed)
        this.events.onFault(error)
      },
    )
  }

  /** Does what comes after an answer, of which no fault may reach the request. */
  safely(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.events.onFault(error)
    }
  }

  /** Async, so that what is thrown at once is a rejection too. */
  async #handOver(ctx: RoutingContext, lease: Lease, events: boolean, kept: KeptAnswer) {
    await this.lane.learnAnswer(ctx.ticket, lease.ref, events, kept.pieces())
  }

  #learned(kept: KeptAnswer, learned: number): void {
    kept.release()
    this.events.onLearned(learned)
  }
}

/** Pieces remembered of the end. Engines send `usage` and `[DONE]` in one piece each, or in two where a read ends. */
const LAST = 8

/** Reads one answer of one pod. */
export class AnswerReader {
  readonly #answers: Answers
  readonly #ctx: RoutingContext
  readonly #lease: Lease
  readonly #events: boolean
  readonly #asTokens: boolean
  readonly #last: (Buffer | undefined)[] = []
  #pieces = 0
  #kept: KeptAnswer | undefined

  constructor(
    answers: Answers,
    ctx: RoutingContext,
    lease: Lease,
    events: boolean,
    asTokens: boolean,
    kept: KeptAnswer | undefined,
  ) {
    this.#answers = answers
    this.#ctx = ctx
    this.#lease = lease
    this.#events = events
    this.#asTokens = asTokens
    this.#kept = kept
  }

  /** A piece is being relayed. */
  feed(chunk: Buffer): void {
    // What came before a piece this long is of no use, and would keep its own buffers.
    if (chunk.length >= TAIL_BYTES) this.#last.fill(undefined)
    this.#last[this.#pieces++ % LAST] = chunk
    this.#kept?.add(chunk)
  }

  /** The answer went to the client, whole. */
  done(): void {
    this.#answers.safely(() => {
      const shape = { events: this.#events, responses: this.#ctx.request.kind === 'responses' }
      this.#answers.check(this.#ctx, this.#lease, findUsage(this.#tail(), shape), this.#asTokens)
    })
    this.#finish(false)
  }

  /** The client has left: what came until then is in the engine's cache all the same. */
  cut(): void {
    this.#finish(true)
  }

  /** Nothing is to be learned: the pod failed. */
  drop(): void {
    this.#kept?.release()
    this.#kept = undefined
  }

  #finish(cut: boolean): void {
    const kept = this.#kept
    if (kept === undefined) return
    this.#kept = undefined
    kept.cut ||= cut
    this.#answers.learn(this.#ctx, this.#lease, this.#events, kept)
  }

  #tail(): Buffer {
    const pieces: Buffer[] = []
    for (let i = Math.max(this.#pieces - LAST, 0); i < this.#pieces; i++) {
      const piece = this.#last[i % LAST]
      if (piece !== undefined) pieces.push(piece)
    }
    const [first] = pieces
    const all = pieces.length === 1 && first !== undefined ? first : Buffer.concat(pieces)
    return all.subarray(Math.max(all.length - TAIL_BYTES, 0))
  }
}

const isRead = (kind: BodyKind): boolean => kind === 'chat' || kind === 'completions' || kind === 'responses'
const isLearned = (kind: BodyKind): boolean => kind === 'chat' || kind === 'completions'

/** One prompt, one answer, and nothing but the answer in it. */
function isSingle(ctx: RoutingContext): boolean {
  const n = ctx.rawField('n')
  if (n !== undefined && n !== '1') return false
  if (ctx.request.kind !== 'completions') return true
  return !isBatch(ctx) && !ctx.body.includes(ECHO)
}

/** As a key, or as a text of its own: in any other text its quotes would be escaped. */
const ECHO = Buffer.from('"echo"')

/** Bytes of a prompt looked at to tell a list of token ids, which is one prompt, from a list of prompts. */
const GLANCE = 16
const OPEN_BRACKET = 0x5b
const isSpace = (byte: number): boolean => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)
const isDigit = (byte: number | undefined): boolean => byte !== undefined && byte >= 0x30 && byte <= 0x39

function isBatch(ctx: RoutingContext): boolean {
  const start = ctx.fieldBytes('prompt', GLANCE)
  if (start?.[0] !== OPEN_BRACKET) return false
  return !isDigit(start.subarray(1).find(byte => !isSpace(byte)))
}
