/**
 * One publisher's feed and what it asks for: what has come is handed to the native side, and when that wants batches
 * again, they are asked for, or waited for where nobody could be asked.
 */
import { type EventFeed, NO_WISH } from '../native.js'
import { Patience } from './patience.js'
import type { ReplayEnd } from './replay.js'
import type { ReplayRequest, Replays } from './replays.js'

export interface FeedTimes {
  /**
   * Between a gap and the replay, ms. A batch that was only overtaken comes within a few; meanwhile several gaps of
   * one burst become one replay, and a busy engine's batches that are held back are some dozens.
   */
  readonly beforeReplayMs: number
  /** The same before a gap is given up, ms, where there is no replay: long enough for any network to bring what it has. */
  readonly withoutReplayMs: number
}

export const FEED_TIMES: FeedTimes = { beforeReplayMs: 20, withoutReplayMs: 500 }

export class PodFeed {
  readonly #patience = new Patience()
  #isWaiting = false
  #request: ReplayRequest | undefined
  #closed = false

  constructor(
    private readonly feed: EventFeed,
    /** Where a replay can be had; undefined: nowhere. */
    private readonly replayAt: string | undefined,
    private readonly replays: Replays,
    private readonly times: FeedTimes,
    private readonly log: (text: string) => void,
    private readonly heard: () => void,
  ) {}

  /** Messages as they came: sequence, payload, sequence, payload, … */
  batch(frames: Uint8Array[]): void {
    const isToLook = this.feed.receiveAll(frames)
    this.heard()
    if (isToLook) this.#look()
  }

  up(): void {
    if (this.feed.connected()) this.#look()
  }

  down(): void {
    this.feed.disconnected()
  }

  /** Rank in a batch; -1 if there is none. */
  rankOf(payload: Uint8Array): number {
    return this.feed.rankOf(payload)
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#patience.end()
    if (this.#request !== undefined) this.replays.cancel(this.#request)
    this.feed.close()
  }

  #look(): void {
    for (let notice = this.feed.notice(); notice !== null; notice = this.feed.notice()) this.log(notice)
    if (!this.#isWaiting && this.#request === undefined) this.#wait()
  }

  /** A wish may be fulfilled by what comes late; it is followed up only if it stands for a while. */
  #wait(): void {
    const from = this.feed.wants()
    if (from === NO_WISH) return
    const { beforeReplayMs, withoutReplayMs } = this.times
    const ms = this.replayAt === undefined ? withoutReplayMs : beforeReplayMs
    this.#isWaiting = true
    this.#patience.begin(ms, () => {
      this.#isWaiting = false
      const now = this.feed.wants()
      if (now === NO_WISH) return
      // Another gap than that which was waited for.
      if (now !== from) this.#wait()
      else if (this.replayAt === undefined) this.#over(() => this.feed.replayFailed())
      else this.#ask(this.replayAt)
    })
  }

  /**
   * While a replay is under way, what comes live may tell of another engine, whose history is then wanted from another
   * number: the rest of the replay answers a question that nobody has any more, and must not be taken for an answer to
   * the new one.
   */
  #ask(endpoint: string): void {
    let asked: number = NO_WISH
    const request: ReplayRequest = {
      endpoint,
      from: () => {
        asked = this.feed.wants()
        if (asked !== NO_WISH) return asked
        this.#request = undefined
        return undefined
      },
      batch: (sequence, payload) => {
        if (this.feed.wants() === asked) this.feed.replayed(sequence, payload)
      },
      end: end => {
        this.#request = undefined
        if (this.feed.wants() === asked) this.#over(() => this.#ended(end))
        else this.#look()
      },
    }
    this.#request = request
    this.replays.request(request)
  }

  /** One that broke off has brought something: the feed says from where it wants the rest. */
  #ended(end: ReplayEnd): boolean {
    return end === 'silent' ? this.feed.replayFailed() : this.feed.replayDone()
  }

  #over(tell: () => boolean): void {
    if (tell()) this.#look()
  }
}
