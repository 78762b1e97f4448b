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
  NO_WISH,
  OUTCOME,
  type PodRef,
  type SharedState,
  type SharedStateOptions,
  slotOf,
  type Ticket,
} from '../../data/native.js'
import { type Connector, DEFAULT_TRANSFER, type PodRole } from '../../data/pod-role.js'
import type { PodInfo } from '../../data/pod-view.js'
import { createPrepareQueue, PrepareQueue } from '../../data/prepare-queue.js'
import type { RequestHead, RoutingContext } from '../../decision/context.js'
import type { Refusal } from '../../decision/plugin.js'
import type { Profile } from '../../decision/profile.js'
import type { Lease } from '../../execution/lease.js'
import { Selector } from '../../execution/selector.js'
import type { DescribedWorkflows } from '../../execution/workflows/described/schema.js'
import { Decider, type Route } from '../../server/decider.js'
import { type Leg, unknownPart, Way } from './way.js'
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
  /** Steps that it takes; absent: whole requests. */
  readonly role?: PodRole | undefined
  readonly connector?: Connector | undefined
}

export interface VirtualRouterOptions {
  /** Unique in the process. */
  readonly stateName: string
  readonly state: SharedStateOptions
  readonly profile: Profile
  /** Those that steps of the profile's workflow name. */
  readonly stepProfiles: readonly Profile[]
  /** The configured ones, which profiles may name. */
  readonly workflows?: DescribedWorkflows | undefined
  readonly pods: readonly RoutedPod[]
  /** Directory of the tokenizer; null: prompts come as token ids. */
  readonly modelDir: string | null
  readonly random: () => number
  /** Whether the pods' KV events are followed. */
  readonly followsEvents: boolean
}

/** A request that is decided about: its stages follow each other by `next`, and `end` is to be called once. */
export interface Decision {
  /** The workflow by which it goes. */
  readonly way: Way
  /** Steps to be sent now, each booked on a pod. */
  legs: readonly Leg[]
  readonly ctx: RoutingContext
}

/** What `learn` needs after the end. */
export interface Learnable {
  readonly lease: Lease
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
    const { stateName, state, profile, stepProfiles, pods, modelDir, random, followsEvents } = options
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
      profiles: new Map([...stepProfiles, profile].map(each => [each.name, each])),
      workflows: options.workflows,
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
    const unknown = unknownPart(this.#decider.named(profile.name)?.workflow ?? { name: '', stages: [] })
    if (unknown !== undefined) throw new RangeError(`workflow '${unknown}' can't be simulated`)
    this.#selector = new Selector(this.#lane.native, this.#decider.pods, { lane: this.#lane, latency })
  }

  /** Sets the clock that all below reads. */
  setTime(ms: number): void {
    this.#state.setTime(ms)
  }

  /**
   * Decides about a request and books the pods of its first stage. Throws what the server would answer 400 or 500 for: a
   * simulated request is a good one, so a profile that cannot take it is at fault.
   */
  decide(request: VirtualRequest): Decision | Refusal | Promise<Decision | Refusal> {
    const { prompt, outputTokens, session } = request
    const { contexts } = this.#decider
    const ctx = contexts.take()
    const fault = this.#decider.open(ctx, heads[prompt.kind], prompt.body(MODEL, outputTokens, session))
    if (fault !== undefined) throw fault
    const route = this.#decider.route(ctx)
    const pending = route.profile.prepare(ctx)
    return pending === undefined ? this.#start(ctx, route) : pending.then(() => this.#start(ctx, route))
  }

  /** Books the pods of the next stage. Refused, the decision is over, as after `drop`. */
  next(decision: Decision): Refusal | undefined {
    const legs = decision.way.next()
    if (typeof legs === 'string') {
      this.drop(decision)
      return legs
    }
    decision.legs = legs
    return undefined
  }

  /** All is sent; the context is given back, and what is left is what was prepared. */
  end({ way, ctx }: Decision, lease: Lease): Learnable {
    const ticket = way.takeTicket()
    this.#decider.contexts.give(ctx)
    return { lease, ticket }
  }

  /** Ends a decision of which nothing is sent any more. */
  drop({ way, ctx }: Decision): void {
    way.letGo()
    this.#decider.contexts.give(ctx)
  }

  /** The answer is complete: a predicted pod is believed to hold its blocks. Frees the ticket. */
  learn({ ticket, lease }: Learnable, prompt: Prompt): Promise<void> | undefined {
    const { native } = this.#lane
    const done = native.wantsAnswer(ticket, lease.ref)
      ? native.learnAnswer(ticket, lease.ref, false, [Buffer.from(answerBody(prompt.answerTokens()))])
      : undefined
    native.drop(ticket)
    return done
  }

  release(lease: Lease): void {
    lease.release(OUTCOME.ok)
  }

  /** Number of the pod that a lease is on. */
  placeOf({ ref }: Lease): number {
    const place = this.#places.get(ref)
    if (place === undefined) throw new Error('unreachable: a pod that nobody added was booked')
    return place
  }

  /** Requests that are decided about: 0 when idle. */
  get open(): number {
    return this.#decider.contexts.inUse
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

  #start(ctx: RoutingContext, route: Route): Decision | Refusal {
    const way = new Way({ ctx, route, selector: this.#selector, pods: this.#decider.pods })
    const legs = way.start()
    if (typeof legs !== 'string') return { way, legs, ctx }
    this.#decider.contexts.give(ctx)
    return legs
  }
}

const answerBody = (tokens: Uint32Array): string =>
  `{"choices":[{"index":0,"text":"","token_ids":[${tokens.join(',')}],"finish_reason":"length"}]}`

function head(path: string, kind: RequestHead['kind']): RequestHead {
  return { id: 'sim', method: 'POST', path, query: '', headers: [], kind }
}

function infoOf(pod: RoutedPod, ref: PodRef | undefined): PodInfo {
  if (ref === undefined) throw new Error('unreachable: a pod without its number')
  const { id, labels, maxInflight, role, connector = DEFAULT_TRANSFER.connector } = pod
  const kvTransfer = { ...DEFAULT_TRANSFER, connector }
  const rest = { origin: '', basePath: '', models: [MODEL], rank: undefined }
  return { ref, id, labels, maxInflight, role, kvTransfer, ...rest }
}
