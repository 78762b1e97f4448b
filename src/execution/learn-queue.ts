/**
 * Answers on their way to the native core, which learns their tokens on the thread pool.
 *
 * They go in batches: handed over one by one, the waking of a pool thread and of this one again cost 55 µs of this
 * thread for each (measured on two busy cores); 32 at a time, 5 µs (short answers) to 16 µs (64 events). And one batch at
 * a time, since prompts that requests wait for are tokenized on the same threads.
 */
import type { Lane, PodRef, Ticket } from '../data/native.js'
import type { KeptAnswer } from './kept-answer.js'

/** An answer and what it follows. */
export interface AnswerToLearn {
  readonly ticket: Ticket
  readonly promptTokens: number
  readonly ref: PodRef
  /** Server-sent events; otherwise one JSON. */
  readonly events: boolean
  readonly kept: KeptAnswer
}

/** Time in which answers gather. A next turn that comes sooner finds its prompt's blocks all the same. */
const GATHER_MS = 10
/** Most answers of a batch. */
const BATCH = 32
/** Most bytes of a batch, unless one answer alone has more: some 5 ms on one thread of the pool. */
const BATCH_BYTES = 262_144
/**
 * Most prompt tokens of all tickets in the queue, of 4 bytes each and as many again for the native core's copy: 32 MiB,
 * as for the answers.
 */
const QUEUE_TOKENS = 4_194_304

export class LearnQueue {
  readonly #lane: Lane
  readonly #done: (answer: AnswerToLearn, error: unknown) => void
  #waiting: AnswerToLearn[] = []
  /** Of the batch that is on the thread pool. */
  #learning = 0
  /** Prompt tokens of the tickets here. */
  #tokens = 0
  #timer: NodeJS.Timeout | undefined

  /** `done` is called once for each answer; `error` is undefined where it was learned. */
  constructor(lane: Lane, done: (answer: AnswerToLearn, error: unknown) => void) {
    this.#lane = lane
    this.#done = done
  }

  /** Is there room for one more? */
  admits(promptTokens: number): boolean {
    return this.#tokens + promptTokens <= QUEUE_TOKENS
  }

  /** Takes an answer over, and drops its ticket in time. */
  add(answer: AnswerToLearn): void {
    this.#tokens += answer.promptTokens
    this.#waiting.push(answer)
    if (this.#learning > 0) return
    if (this.#waiting.length >= BATCH) this.#next()
    // Nothing is lost by a process that ends without having learned.
    else this.#timer ??= setTimeout(() => this.#next(), GATHER_MS).unref()
  }

  #next(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const batch = this.#waiting.slice(0, batchSize(this.#waiting))
    this.#waiting = this.#waiting.slice(batch.length)
    this.#learning = batch.length
    for (const answer of batch) {
      this.#learn(answer).then(
        () => this.#finished(answer, undefined),
        error => this.#finished(answer, error),
      )
    }
  }

  /** Async, so that what is thrown at once is a rejection too. */
  async #learn({ ticket, ref, events, kept }: AnswerToLearn): Promise<void> {
    let learned: Promise<void>
    try {
      learned = this.#lane.learnAnswer(ticket, ref, events, kept.pieces())
    } finally {
      // What is needed of it has been taken.
      this.#lane.drop(ticket)
    }
    await learned
  }

  #finished(answer: AnswerToLearn, error: unknown): void {
    this.#learning--
    this.#tokens -= answer.promptTokens
    this.#done(answer, error)
    if (this.#learning === 0 && this.#waiting.length > 0) this.#next()
  }
}

function batchSize(waiting: readonly AnswerToLearn[]): number {
  let bytes = 0
  let size = 0
  for (const { kept } of waiting) {
    bytes += kept.bytes
    if (size === BATCH || (size > 0 && bytes > BATCH_BYTES)) break
    size++
  }
  return size
}
