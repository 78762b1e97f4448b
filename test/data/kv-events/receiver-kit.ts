/** A receiver in the test's own thread, whose feeds are fakes. */
import type { ExecutionContext } from 'ava'
import { Receiver, type ReceiverDeps } from '#phyllo/data/kv-events/receiver.js'
import {
  type EventSource,
  THREAD_COUNT_WORDS,
  type THREAD_COUNTS,
  type ThreadLog,
} from '#phyllo/data/kv-events/source.js'
import { isPodRef, type PodRef } from '#phyllo/data/native.js'
import { FakeFeed } from './fake-feed.js'

/** Short, so that tests are; where a test needs one not to pass, it says so. */
export const TIMES = { beforeReplayMs: 5, withoutReplayMs: 20 }
export const LIMITS = { connectMs: 20_000, silenceMs: 20_000, wholeMs: 60_000, maxMessageBytes: 1 << 20 }

export function refOf(slot: number): PodRef {
  const ref = 1024 + slot
  if (!isPodRef(ref)) throw new Error('a pod ref')
  return ref
}

export function sourceAt(endpoint: string | undefined, more: Partial<EventSource> = {}): EventSource {
  const id = more.id ?? 'pod'
  return {
    ref: refOf(0),
    id,
    name: id,
    rank: 0,
    address: '10.0.0.1:8000',
    model: 'm',
    endpoint,
    replay: undefined,
    topic: '',
    firstSequence: 0,
    ...more,
  }
}

export class Receiving {
  readonly feeds = new Map<string, FakeFeed>()
  readonly said: ThreadLog[] = []
  /** Pods that are known exactly. */
  readonly exact = new Set<PodRef>()
  readonly receiver: Receiver
  readonly #counts = new SharedArrayBuffer(8 * THREAD_COUNT_WORDS)

  constructor(t: ExecutionContext, more: Partial<ReceiverDeps> = {}) {
    this.receiver = new Receiver({
      openFeed: source => {
        const feed = new FakeFeed(source)
        this.feeds.set(source.id, feed)
        return feed
      },
      isExact: ref => this.exact.has(ref),
      say: message => this.said.push(message),
      bind: [],
      counts: this.#counts,
      times: TIMES,
      limits: LIMITS,
      ...more,
    })
    t.teardown(() => this.receiver.close())
  }

  /** Attaches a pod and answers its feed. */
  follow(source: EventSource): FakeFeed {
    this.receiver.receive({ type: 'attach', source })
    return this.feed(source.id)
  }

  feed(id: string): FakeFeed {
    const feed = this.feeds.get(id)
    if (feed === undefined) throw new Error(`no feed of ${id}`)
    return feed
  }

  count(place: (typeof THREAD_COUNTS)[keyof typeof THREAD_COUNTS]): number {
    return new Float64Array(this.#counts)[place] ?? 0
  }
}
