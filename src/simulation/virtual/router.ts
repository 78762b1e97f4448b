/**
 * The router in virtual time: the server's own decider, compiled profiles, selector, leases and native state, with the
 * clock of the simulation. What HTTP does around them is left out.
 */
import { ownBoard } from '../../data/fleet-board.js'
import { LaneView } from '../../data/lane-view.js'
import { createLatencyMemory, LatencyModel } from '../../data/latency-model.js'
import {
  type EventFeed,
  loadNative,
  NO_TICKET,
  NO_WISH,
  OUTCOME,
  type PodRef,
  type SharedState,
  type SharedStateOptions,
  slotOf,
  type Ticket,
} from '../../data/native.js'
import type { PodInfo } from '../../data/pod-view.js'
import { createPrepareQueue, PrepareQueue } from '../../data/prepare-queue.js'
import type { RequestHead } from '../../decision/context.js'
import type { Refusal } from '../../decision/plugin.js'
import type { Profile } from '../../decision/profile.js'
import type { Lease } from '../../execution/lease.js'
import { Selector } from '../../execution/selector.js'
import { Decider } from '../../server/decider.js'
import type { Prompt, VirtualRequest } from './workload.js'

/** The name that requests ask for. */
export const MODEL = 'sim'

/** A pod as the router knows it. */
export interface RoutedPod {
  readonly id: string
  readonly blockSize: number
  readonly blocks: number
  readonly labels: Readonly<Record<string, string>>
  /** Most requests in flight on it; 0: no limit. */
  readonly maxInflight: number
}

export interface VirtualRouterOptions {
  /** Unique in the process. */
  readonly stateName: string
  readonly state: SharedStateOptions
  readonly profile: Profile
  readonly pods: readonly RoutedPod[]
  /** Directory of the tokenizer; null: prompts come as token ids. */
  readonly modelDir: string | null
  readonly random: () => number
  /** Whether the pods' KV events are followed. */
  readonly followsEvents: boolean
}

/** A decision: a booked pod, or why there is none. */
export interface Decision {
  readonly pod: number
  readonly lease: Lease
  /** What was prepared; to be given back to `learn`, or to `drop`. */
  readonly ticket: Ticket
}

const heads: Readonly<Record<VirtualRequest['prompt']['kind'], RequestHead>> = {
  chat: head('/v1/chat/completions', 'chat'),
  completions: head('/v1/completions', 'completions'),
}

export class VirtualRouter {
  readonly #state: SharedState
  readonly #lane: LaneView
  readonly #decider: Decider
  readonly #selector: Selector
  readonly #refs: readonly PodRef[]
  readonly #feeds: readonly EventFeed[]
  readonly #places: ReadonlyMap<PodRef, number>

  constructor(private readonly options: VirtualRouterOptions) {
    const { stateName, state, profile, pods, modelDir, random, followsEvents } = options
    const addon = loadNative()
    this.#state = addon.SharedState.open(stateName, { ...state, virtualClock: true })
    this.#lane = new LaneView(addon, this.#state)
    const [blockSize = 16] = pods.map(pod => pod.blockSize)
    const files = modelDir === null ? {} : { dir: modelDir }
    const model = this.#state.addModel(MODEL, { ...files, blockSize })
    this.#refs = pods.map(pod => this.#addPod(pod))
    this.#places = new Map(this.#refs.map((ref, at) => [ref, at]))
    const sizes = [...new Set(pods.map(pod => pod.blockSize))]
    this.#state.setChains(model, Uint32Array.from(sizes.flatMap(size => [model, size])))
    this.#feeds = followsEvents ? this.#refs.map(ref => this.#follow(ref)) : []
    const latency = new LatencyModel(createLatencyMemory(state.width, 1), 0, () => this.#state.now())
    this.#decider = new Decider({
      lane: this.#lane,
      profiles: new Map([[profile.name, profile]]),
      defaultProfile: profile.name,
      // On this thread whatever the length: the thread pool's order of completion is nobody's seed.
      asyncPrepareBytes: Number.POSITIVE_INFINITY,
      prepareQueue: new PrepareQueue(createPrepareQueue(1, Number.MAX_SAFE_INTEGER, 1), 0),
      latency,
      board: ownBoard(state.width),
      now: () => this.#state.now(),
      random,
      // What the server would get over, a simulation must not hide.
      onPluginFailed: (_profile, _plugin, error) => {
        throw error
      },
    })
    this.#decider.update({
      version: 1,
      pods: pods.map((pod, at) => infoOf(pod, this.#refs[at])),
      models: [{ name: MODEL, id: model, profile: profile.name, aliases: [], forwardTokens: false }],
      modelList: '',
      modelEntries: {},
    })
    this.#selector = new Selector(this.#lane.native, this.#decider.pods, { lane: this.#lane, latency })
  }

  /** Sets the clock that all below reads. */
  setTime(ms: number): void {
    this.#state.setTime(ms)
  }

  /**
   * Decides about a request and books the pod. Throws what the server would answer 400 or 500 for: a simulated request
   * is a good one, so a profile that cannot take it is at fault.
   */
  decide(request: VirtualRequest): Decision | Refusal | Promise<Decision | Refusal> {
    const { prompt, outputTokens, session } = request
    const ctx = this.#decider.contexts.take()
    const { contexts } = this.#decider
    const body = prompt.body(MODEL, outputTokens, session)
    const fault = this.#decider.open(ctx, heads[prompt.kind], body)
    if (fault !== undefined) throw fault
    const { profile } = this.#decider.route(ctx)
    const pending = profile.prepare(ctx)
    const select = (): Decision | Refusal => {
      const outcome = this.#selector.acquire(ctx, profile, ctx.pool, [])
      const isBooked = typeof outcome !== 'string'
      const ticket = isBooked ? ctx.takeTicket() : NO_TICKET
      contexts.give(ctx)
      return isBooked ? { pod: this.#placeOf(outcome.ref), lease: outcome, ticket } : outcome
    }
    return pending === undefined ? select() : pending.then(select)
  }

  /** The answer is complete: a predicted pod is believed to hold its blocks. Frees the ticket. */
  learn({ ticket, lease }: Decision, prompt: Prompt): Promise<void> | undefined {
    const { native } = this.#lane
    const done = native.wantsAnswer(ticket, lease.ref)
      ? native.learnAnswer(ticket, lease.ref, false, [Buffer.from(answerBody(prompt.answerTokens()))])
      : undefined
    native.drop(ticket)
    return done
  }

  /** Frees the ticket of a decision whose answer never comes. */
  drop({ ticket }: Decision): void {
    this.#lane.native.drop(ticket)
  }

  release(decision: Decision): void {
    decision.lease.release(OUTCOME.ok)
  }

  /**
   * A message of a pod's event stream. None is lost here, but the feed may want to hear all again for reasons of its own
   * (its pod's state was given up for the memory budget); it learns that nobody can tell it.
   */
  receive(pod: number, sequence: Buffer, payload: Buffer): void {
    const feed = this.#feeds[pod]
    if (feed === undefined) throw new Error(`pod ${pod} has no event feed`)
    if (feed.receive(sequence, payload) && feed.wants() !== NO_WISH) feed.replayFailed()
  }

  /** A pod's own metrics. */
  tellLoad(pod: number, running: number, waiting: number, kvUse: number): void {
    this.#state.setEngineLoad(this.#refs[pod] ?? -1, running, waiting, kvUse)
  }

  /** Requests booked and not given back, by pod. */
  inflight(): number[] {
    this.#lane.beginSelection()
    return this.#refs.map(ref => this.#lane.inflight[slotOf(ref)] ?? 0)
  }

  /** Frees what the state holds at once, not when the collector finds its wrapper. */
  close(): void {
    for (const feed of this.#feeds) feed.close()
    for (const ref of this.#refs) {
      this.#state.removePod(ref)
      this.#state.releasePod(ref)
    }
    this.#state.clearPredicted()
    // Maintenance, which sweeps what the pods left, runs when the clock moves.
    this.#state.setTime(this.#state.now() + 60_000)
    loadNative().SharedState.close(this.options.stateName)
  }

  #addPod({ id, blockSize, blocks }: RoutedPod): PodRef {
    const ref = this.#state.addPod(id)
    this.#state.activatePod(ref)
    this.#state.setPodCache(ref, blockSize, blocks, -1)
    return ref
  }

  /** A replay that brings nothing tells that the engine has cached nothing yet: the pod is exact from the start. */
  #follow(ref: PodRef): EventFeed {
    const addon = loadNative()
    const feed = new addon.EventFeed(this.#state, ref, { model: MODEL, replay: true, firstSequence: 0 })
    feed.connected()
    feed.replayDone()
    return feed
  }

  #placeOf(ref: PodRef): number {
    const place = this.#places.get(ref)
    if (place === undefined) throw new Error('unreachable: a pod that nobody added was booked')
    return place
  }
}

const answerBody = (tokens: Uint32Array): string =>
  `{"choices":[{"index":0,"text":"","token_ids":[${tokens.join(',')}],"finish_reason":"length"}]}`

function head(path: string, kind: RequestHead['kind']): RequestHead {
  return { id: 'sim', method: 'POST', path, query: '', headers: [], kind }
}

function infoOf({ id, labels, maxInflight }: RoutedPod, ref: PodRef | undefined): PodInfo {
  if (ref === undefined) throw new Error('unreachable: a pod without its number')
  return { ref, id, origin: '', basePath: '', models: [MODEL], labels, maxInflight, rank: undefined }
}
