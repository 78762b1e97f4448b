/** All that the event thread does, apart from being a thread: one feed a publisher, one socket a feed. */
import { Context } from 'zeromq'
import { saidOnce } from '../../telemetry/log.js'
import type { EventFeed, PodRef } from '../native.js'
import { Bound } from './bound.js'
import { FEED_TIMES, type FeedTimes, PodFeed } from './pod-feed.js'
import { REPLAY_TIMES, type ReplayLimits } from './replay.js'
import { Replays } from './replays.js'
import { MAX_MESSAGE_BYTES } from './socket-options.js'
import { type EventSource, THREAD_COUNTS, type ThreadLog, type ToThread } from './source.js'
import { Subscription } from './subscription.js'

export interface ReceiverDeps {
  /** The native feed of a publisher. */
  openFeed(source: EventSource): EventFeed
  /** Whether all of what the pod holds is known; absent: yes. */
  readonly isExact?: (ref: PodRef) => boolean
  /** A batch of the pod's events was applied; absent: nobody notes it. */
  readonly heard?: (ref: PodRef) => void
  say(message: ThreadLog): void
  readonly bind: readonly string[]
  /** See THREAD_COUNTS. */
  readonly counts: SharedArrayBuffer
  /** Other times and limits than the argued ones, for tests. */
  readonly times?: FeedTimes
  readonly limits?: ReplayLimits
}

/** Sockets that libzmq lets a context have: for each of 1,024 pods one and two for its events, and a few more. */
const MOST_SOCKETS = 4096

/** Topics of strangers that are named in the log; the rest are only counted. */
const MOST_TOPICS = 64

/** Says each kind of line once of a pod; lines that differ in numbers only are of one kind. */
interface Voice {
  info(text: string): void
  warn(text: string): void
}

interface Attached {
  readonly feed: PodFeed
  readonly subscription: Subscription
}

export class Receiver {
  // A context of its own: the process' shared one may have been used already, and then keeps its limit of 1,023 sockets.
  readonly #context = new Context({ maxSockets: MOST_SOCKETS })
  readonly #limits: ReplayLimits
  readonly #replays: Replays
  readonly #attached = new Map<number, Attached>()
  readonly #bound: Bound
  readonly #counts: Float64Array

  constructor(private readonly deps: ReceiverDeps) {
    this.#limits = deps.limits ?? { ...REPLAY_TIMES, maxMessageBytes: MAX_MESSAGE_BYTES }
    this.#replays = new Replays(this.#context, this.#limits)
    this.#counts = new Float64Array(deps.counts)
    const voice = this.#voice(undefined)
    const newTopic = saidOnce(MOST_TOPICS)
    this.#bound = new Bound(this.#context, deps.bind, this.#limits, {
      open: source => this.#open(source, this.#voice(source.id)),
      unknownTopic: topic => {
        this.#count(THREAD_COUNTS.unknownTopics)
        const shown = JSON.stringify(topic.slice(0, 200))
        if (newTopic(shown))
          this.#say('warn', undefined, `KV events come under ${shown}, no known pod's topic`)
      },
      badMessage: parts => this.#badMessage(voice, parts),
      warn: text => voice.warn(text),
    })
  }

  receive(message: ToThread): void {
    if (message.type === 'attach') this.#attach(message.source)
    else if (message.type === 'detach') this.#detach(message.ref)
    else if (message.type === 'verify') this.#bound.verify(message.ref)
    else if (message.type === 'stop') this.close()
  }

  close(): void {
    for (const ref of [...this.#attached.keys()]) this.#detach(ref)
    this.#bound.close()
  }

  #attach(source: EventSource): void {
    const { ref, id, endpoint, topic } = source
    this.#detach(ref)
    if (endpoint === undefined) return this.#bound.attach(source)
    const voice = this.#voice(id)
    const feed = this.#open(source, voice)
    try {
      const subscription = new Subscription(this.#context, endpoint, topic, this.#limits, {
        up: () => feed.up(),
        down: () => feed.down(),
        batch: frames => feed.batch(frames),
        badMessage: parts => this.#badMessage(voice, parts),
        warn: text => voice.warn(text),
      })
      this.#attached.set(ref, { feed, subscription })
    } catch (error) {
      feed.close()
      voice.warn(`its KV events at ${endpoint} cannot be subscribed to: ${String(error)}`)
    }
  }

  #detach(ref: number): void {
    this.#bound.detach(ref)
    const attached = this.#attached.get(ref)
    this.#attached.delete(ref)
    attached?.subscription.close()
    attached?.feed.close()
  }

  #open(source: EventSource, voice: Voice): PodFeed {
    const { openFeed, isExact = () => true, times = FEED_TIMES } = this.deps
    // What a feed has to say is how the pod's cache came to be known exactly, or why it is not any more.
    const log = (text: string): void => (isExact(source.ref) ? voice.info(text) : voice.warn(text))
    const heard = () => this.deps.heard?.(source.ref)
    return new PodFeed(openFeed(source), source.replay, this.#replays, times, log, heard)
  }

  #badMessage(voice: Voice, parts: readonly Buffer[]): void {
    this.#count(THREAD_COUNTS.badFrames)
    voice.warn(`a message of ${parts.length} parts came; KV events are a topic, a number and a payload`)
  }

  #count(place: number): void {
    this.#counts[place] = (this.#counts[place] ?? 0) + 1
  }

  #voice(pod: string | undefined): Voice {
    const once = saidOnce()
    const kind = (text: string): string => text.replaceAll(/\d+/g, '#')
    return {
      info: text => {
        if (once(kind(text))) this.#say('info', pod, text)
      },
      warn: text => {
        if (once(kind(text))) this.#say('warn', pod, text)
      },
    }
  }

  #say(level: ThreadLog['level'], pod: string | undefined, text: string): void {
    this.deps.say({ type: 'log', level, pod, text })
  }
}
