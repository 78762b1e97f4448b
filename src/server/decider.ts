/**
 * What one thread needs to open a request and decide about it: its lane, its view of the fleet, its compiled profiles.
 * Each worker has one; the main thread has one too, for `POST /explain`.
 */
import { CacheSizes } from '../data/cache-sizes.js'
import type { FleetBoard } from '../data/fleet-board.js'
import type { LaneView } from '../data/lane-view.js'
import type { LatencyModel } from '../data/latency-model.js'
import { BODY_KINDS, FIELDS, isPodRef, MAX_SLOTS, type PodRef, SCAN, slotOf } from '../data/native.js'
import { PodView, type Pool } from '../data/pod-view.js'
import type { PrepareQueue } from '../data/prepare-queue.js'
import { TokenForwarding } from '../data/token-forwarding.js'
import { type CompiledProfile, compileProfile } from '../decision/compile.js'
import { type RequestHead, type RoutingContext, RoutingContexts } from '../decision/context.js'
import type { PluginFailed } from '../decision/outcome.js'
import type { Profile } from '../decision/profile.js'
import { PhylloError } from '../errors.js'
import { type ExecutionRoute, preparedFor } from '../execution/route.js'
import { profilesOf } from '../execution/workflow.js'
import type { DescribedWorkflows } from '../execution/workflows/described/schema.js'
import { workflowFor } from '../execution/workflows/registry.js'
import type { FleetUpdate, WorkerModel } from './protocol.js'

/** A profile made ready to run on this thread. */
export interface Route extends ExecutionRoute {
  readonly profile: CompiledProfile
}

export interface DeciderOptions {
  readonly lane: LaneView
  readonly profiles: ReadonlyMap<string, Profile>
  /** The configured ones. */
  readonly workflows?: DescribedWorkflows | undefined
  readonly defaultProfile: string
  readonly asyncPrepareBytes: number
  readonly prepareQueue: PrepareQueue
  readonly latency: LatencyModel
  readonly board: FleetBoard
  readonly now: () => number
  readonly random: () => number
  readonly onPluginFailed: PluginFailed
}

/** Values of the breaker column; see LOAD.breaker. */
const CLOSED = 0
const PROBE_FREE = 2

/** Name under which the pod that holds a response's state is remembered. */
const responseKey = (id: string): string => `response:${id}`

export class Decider {
  readonly pods = new PodView()
  readonly contexts: RoutingContexts
  /** What is known of the pods' times to the first byte. */
  readonly latency: LatencyModel
  readonly #lane: LaneView
  readonly #routes = new Map<string, Route>()
  readonly #fallback: Route
  readonly #plain: Route
  #models = new Map<string, WorkerModel>()
  readonly #forwarding = new Map<string, TokenForwarding>()
  #unlisted = false

  constructor(options: DeciderOptions) {
    this.#lane = options.lane
    this.latency = options.latency
    this.contexts = new RoutingContexts(options.lane)
    const caches = new CacheSizes(options.lane, this.pods, options.now)
    const env = { ...options, pods: this.pods, caches }
    const alone = new Map<string, CompiledProfile>()
    for (const [name, profile] of options.profiles) alone.set(name, compileProfile(profile, env))
    for (const [name, profile] of options.profiles) {
      const workflow = workflowFor(profile.execute, options.workflows)
      const used = profilesOf(workflow)
      const prepare = preparedFor(profile, workflow, options.profiles)
      if ('message' in prepare) throw new Error(`profile '${prepare.profile}': ${prepare.message}`)
      const compiled = used.size === 0 ? alone.get(name) : compileProfile({ ...profile, prepare }, env)
      if (compiled === undefined) continue
      const stepProfiles = new Map([...alone].filter(([step]) => used.has(step)))
      this.#routes.set(name, { profile: compiled, workflow, stepProfiles })
    }
    const fallback = this.#routes.get(options.defaultProfile)
    if (fallback === undefined) throw new Error(`no profile is named '${options.defaultProfile}'`)
    this.#fallback = fallback
    this.#plain = this.#routes.get('least-request') ?? fallback
  }

  update(fleet: FleetUpdate): void {
    this.pods.update(fleet.version, fleet.pods)
    this.#models = new Map(
      fleet.models.flatMap(model => [model.name, ...model.aliases].map(name => [name, model])),
    )
    this.#unlisted = fleet.pods.some(pod => pod.models.length === 0)
  }

  /** The profile and workflow of an opened request. What names no model needs only a pod that is up. */
  route(ctx: RoutingContext): Route {
    if (ctx.modelId < 0) return this.#plain
    return this.#routes.get(this.#models.get(ctx.model)?.profile ?? '') ?? this.#fallback
  }

  /** A profile by name. */
  named(profile: string): Route | undefined {
    return this.#routes.get(profile)
  }

  /** Makes the context ready for a request whose body is not looked into. */
  openRaw(ctx: RoutingContext, head: RequestHead, body: Buffer, pool: Pool): void {
    ctx.request = head
    ctx.body = body
    ctx.pool = pool
    ctx.poolVersion = this.pods.version
    ctx.fields.fill(0)
  }

  /**
   * Checks a body and makes the context ready: fields, model, pool. An error is returned, not thrown: a stream of bad
   * requests must cost no more than good ones. The caller gives the context back either way.
   */
  open(ctx: RoutingContext, head: RequestHead, body: Buffer): PhylloError | undefined {
    ctx.request = head
    ctx.body = body
    const code = this.#lane.native.scan(body, BODY_KINDS[head.kind], ctx.fields)
    if (code !== SCAN.ok) return scanError(code, ctx.fields)
    ctx.stream = ctx.rawField('stream') === 'true'
    return this.#choosePool(ctx)
  }

  /** A path passed through: a JSON body that names a model goes to that model's pods, anything else to any pod. */
  openOther(ctx: RoutingContext, head: RequestHead, body: Buffer): PhylloError | undefined {
    ctx.request = head
    ctx.body = body
    const code = this.#lane.native.scan(body, BODY_KINDS.other, ctx.fields)
    if (code === SCAN.ok && ctx.has('model')) return this.#choosePool(ctx)
    this.openRaw(ctx, head, body, this.pods.all)
    return undefined
  }

  /** The pod that holds a response's state: the only one that can go on from there. */
  poolOfResponse(id: string): Pool | undefined {
    const ref = this.#lane.native.recall(responseKey(id))
    if (!isPodRef(ref)) return undefined
    const pod = this.pods.byRef(ref)
    return pod === undefined ? undefined : { slots: Uint16Array.of(slotOf(ref)), length: 1 }
  }

  rememberResponse(id: string, ref: PodRef): void {
    this.#lane.native.remember(responseKey(id), ref)
  }

  #choosePool(ctx: RoutingContext): PhylloError | undefined {
    // `scan` refuses a body without one.
    const name = ctx.stringField('model') ?? ''
    const asked = this.#models.get(name)
    if (asked === undefined) return this.#noModel(name)
    const previous = ctx.stringField('previous_response_id')
    // A response nobody here knows of goes to any pod, whose own 404 names the cause best.
    const holder = previous === undefined ? undefined : this.poolOfResponse(previous)
    const model = this.#ofChain(asked, holder)
    if (name !== model.name) renameModel(ctx, model.name)
    ctx.model = model.name
    ctx.modelId = model.id
    ctx.forwarding = this.#forwardingOf(model)
    if (holder !== undefined) ctx.pinnedTo = previous ?? ''
    const pool = holder ?? this.pods.pool(model.name)
    if (pool === undefined)
      return new PhylloError('no_pod', `no pod serves the model '${model.name}' at present`)
    ctx.pool = pool
    ctx.poolVersion = this.pods.version
    return undefined
  }

  /**
   * Who of the model's chain serves the request. Where a response is gone on from, that is settled by the pod that holds
   * it: it may have been asked in another one's place, and knows no model but its own.
   */
  #ofChain(model: WorkerModel, holder: Pool | undefined): WorkerModel {
    const { fallbacks = [] } = model
    if (holder === undefined) return this.#withFallbacks(model, fallbacks)
    const served = this.pods.bySlot(holder.slots[0] ?? MAX_SLOTS)?.models ?? []
    if (served.includes(model.name)) return model
    const names = fallbacks.map(name => this.#models.get(name))
    return names.find(fallback => fallback !== undefined && served.includes(fallback.name)) ?? model
  }

  /** The model itself while a pod takes requests for it, else the first of its fallbacks that one takes requests for. */
  #withFallbacks(model: WorkerModel, fallbacks: readonly string[]): WorkerModel {
    if (fallbacks.length === 0) return model
    this.#lane.beginSelection()
    if (this.#takesRequests(model)) return model
    for (const name of fallbacks) {
      const fallback = this.#models.get(name)
      if (fallback !== undefined && this.#takesRequests(fallback)) return fallback
    }
    return model
  }

  #takesRequests({ name }: WorkerModel): boolean {
    // Of models that are only served in steps, who decodes tells.
    const whole = this.pods.pool(name)
    const pool = (whole?.length ?? 0) > 0 ? whole : this.pods.stepPool(name, 'decode')
    const { ready, breaker } = this.#lane
    for (let i = 0; i < (pool?.length ?? 0); i++) {
      const slot = pool?.slots[i] ?? 0
      // A breaker that is half open with its probe free may find the pod well again.
      if (ready[slot] === 1 && (breaker[slot] === CLOSED || breaker[slot] === PROBE_FREE)) return true
    }
    return false
  }

  #forwardingOf({ name, forwardTokens }: WorkerModel): TokenForwarding | undefined {
    if (forwardTokens === false) return undefined
    let forwarding = this.#forwarding.get(name)
    if (forwarding === undefined) {
      forwarding = new TokenForwarding(forwardTokens === 'prompt_tokens')
      this.#forwarding.set(name, forwarding)
    }
    return forwarding
  }

  #noModel(name: string): PhylloError {
    if (this.pods.all.length === 0) return new PhylloError('no_pod', 'no pod is known to the router')
    // While nothing at all is known, any name may turn out to be served.
    if (this.#unlisted && this.pods.models.length === 0) {
      return new PhylloError('no_pod', 'no pod has told yet which models it serves')
    }
    return new PhylloError('model_not_found', `the model '${name}' does not exist`, 'model')
  }
}

const scanMessages: Readonly<Record<number, string>> = {
  [SCAN.badJson]: 'the body is not valid JSON',
  [SCAN.notAnObject]: 'the body must be a JSON object',
  [SCAN.badUtf8]: 'the body is not valid UTF-8',
  [SCAN.tooDeep]: 'the body nests too deeply',
}

/** A fault of `scan` as an error that names the place or the field. */
function scanError(code: number, out: Uint32Array): PhylloError {
  const field = FIELDS[out[1] ?? -1] ?? null
  if (code === SCAN.missingField)
    return new PhylloError('invalid_request', `the field '${field}' is required`, field)
  if (code === SCAN.wrongType) {
    return new PhylloError('invalid_request', `the field '${field}' has a wrong type or value`, field)
  }
  return new PhylloError(
    'bad_json',
    `${scanMessages[code] ?? 'the body cannot be read'} (at byte ${out[0] ?? 0})`,
  )
}

/**
 * Puts the model's own name in place of an alias. The one case where the client's bytes are changed on the way in; the
 * spans behind the name move with it.
 */
function renameModel(ctx: RoutingContext, name: string): void {
  const at = ctx.fields[0] ?? 0
  const length = ctx.fields[1] ?? 0
  const text = Buffer.from(JSON.stringify(name))
  ctx.body = Buffer.concat([ctx.body.subarray(0, at), text, ctx.body.subarray(at + length)])
  for (let i = 0; i < ctx.fields.length; i += 2) {
    if ((ctx.fields[i] ?? 0) > at) ctx.fields[i] = (ctx.fields[i] ?? 0) + text.length - length
  }
  ctx.fields[1] = text.length
}
