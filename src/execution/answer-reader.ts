/** Reads along one answer while it is relayed, and passes on in the end what there was to read. */
import type { RoutingContext } from '../decision/context.js'
import type { Answers } from './answers.js'
import type { KeptAnswer } from './kept-answer.js'
import type { Lease } from './lease.js'
import { findUsage, TAIL_BYTES } from './usage.js'

/** What a reader knows of its answer. */
export interface AnswerPlan {
  readonly events: boolean
  readonly asTokens: boolean
  /** The engine's count is to be compared. */
  readonly isChecked: boolean
}

/** Pieces remembered of the end. Engines send `usage` and `[DONE]` in one piece each, or in two where a read ends. */
const LAST = 8
/** Pieces in which it nearly always is, so that no more have to be put together. */
const NEAR = 2

/** Reads one answer of one pod. */
export class AnswerReader {
  readonly #answers: Answers
  readonly #ctx: RoutingContext
  readonly #lease: Lease
  readonly #plan: AnswerPlan
  readonly #last: (Buffer | undefined)[] = []
  #pieces = 0
  #kept: KeptAnswer | undefined

  constructor(
    answers: Answers,
    ctx: RoutingContext,
    lease: Lease,
    plan: AnswerPlan,
    kept: KeptAnswer | undefined,
  ) {
    this.#answers = answers
    this.#ctx = ctx
    this.#lease = lease
    this.#plan = plan
    this.#kept = kept
  }

  /** A piece is being relayed. */
  feed(chunk: Buffer): void {
    this.#kept?.add(chunk)
    if (!this.#plan.isChecked) return
    // What came before a piece this long is of no use, and would keep its own buffers.
    if (chunk.length >= TAIL_BYTES) this.#last.fill(undefined)
    this.#last[this.#pieces++ % LAST] = chunk
  }

  /** The answer went to the client, whole. */
  done(): void {
    const { events, asTokens, isChecked } = this.#plan
    if (isChecked) {
      this.#answers.safely(() => {
        const shape = { events, responses: this.#ctx.request.kind === 'responses' }
        const usage = findUsage(this.#tail(NEAR), shape) ?? findUsage(this.#tail(LAST), shape)
        this.#answers.check(this.#ctx, this.#lease, usage, asTokens)
      })
    }
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
    // Nothing came that there would have been room for.
    if (kept.isEmpty && !kept.cut) return
    kept.cut ||= cut
    const isDone = this.#answers.safely(() =>
      this.#answers.learn(this.#ctx, this.#lease, this.#plan.events, kept),
    )
    if (!isDone) kept.release()
  }

  /** The end of the answer, as far as it lies in so many pieces. */
  #tail(most: number): Buffer {
    const pieces: Buffer[] = []
    for (let i = Math.max(this.#pieces - most, 0); i < this.#pieces; i++) {
      const piece = this.#last[i % LAST]
      if (piece !== undefined) pieces.push(piece)
    }
    const [first] = pieces
    const all = pieces.length === 1 && first !== undefined ? first : Buffer.concat(pieces)
    return all.subarray(Math.max(all.length - TAIL_BYTES, 0))
  }
}
