/**
 * A worker thread's view of the fleet: pods by slot, and for each model the pool of slots that serve it. It is rebuilt
 * whole when the control plane broadcasts a new version, never changed in place while a decision reads it.
 */
import { MAX_SLOTS, type PodRef, slotOf } from './native.js'
import {
  type Assignment,
  canHandOver,
  DEFAULT_TRANSFER,
  type LiveTransfer,
  type PodRole,
  STEP_ROLES,
  type StepRole,
  servesWhole,
  takesStep,
} from './pod-role.js'

/** What the control plane tells the workers of a pod. */
export interface PodInfo {
  readonly ref: PodRef
  readonly id: string
  /** Scheme, host and port: `http://10.0.0.1:8000`. */
  readonly origin: string
  /** Path before `/v1/…`, without a trailing slash; mostly empty. */
  readonly basePath: string
  /** Names of the models that it serves; empty while not yet known. */
  readonly models: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  /** Steps of a request that it takes; absent: whole requests. */
  readonly role?: PodRole | undefined
  /** The one step that a pod of role `both` is kept to for the time being; absent: it takes both. */
  readonly assigned?: Assignment | undefined
  /** How it hands KV blocks over; absent: DEFAULT_TRANSFER. */
  readonly kvTransfer?: LiveTransfer | undefined
  /** Most requests in flight on it, over all workers; 0 = no limit. */
  readonly maxInflight: number
  /** Its data-parallel rank, where several share the origin; requests name it in a header. */
  readonly rank: number | undefined
  /** The configured model whose files it runs, where that is not the served model's own: its tokens may be others. */
  readonly variant?: string | undefined
}

/**
 * Whether the pod may have another tokenizer or template than its models' own. Its variant may well be its base model,
 * which engines list first, their adapters behind: then they are the same files.
 */
export const runsOtherFiles = ({ variant, models: [base] }: Pick<PodInfo, 'variant' | 'models'>): boolean =>
  variant !== undefined && base !== undefined && variant !== base

/** Slots a selector chooses among: the first `length` entries count. */
export interface Pool {
  readonly slots: Uint16Array
  readonly length: number
}

const emptyPool: Pool = { slots: new Uint16Array(0), length: 0 }

export class PodView {
  #version = 0
  #bySlot: (PodInfo | undefined)[] = []
  #since = new Float64Array(MAX_SLOTS)
  #all: Pool = emptyPool
  #pools = new Map<string, Pool>()
  readonly #stepPools: Record<StepRole, Map<string, Pool>> = {
    prefill: new Map(),
    decode: new Map(),
    encode: new Map(),
  }
  #limits: Float64Array = new Float64Array(MAX_SLOTS)
  #limited = false

  get version(): number {
    return this.#version
  }

  /** Replaces the whole view. A pod whose models are not known yet serves nothing. */
  update(version: number, pods: readonly PodInfo[]): void {
    const bySlot: (PodInfo | undefined)[] = new Array(MAX_SLOTS).fill(undefined)
    const byModel = new Map<string, PodInfo[]>()
    for (const pod of pods) {
      if (this.byRef(pod.ref) === undefined) this.#since[slotOf(pod.ref)] = version
      bySlot[slotOf(pod.ref)] = pod
      for (const model of pod.models) groupUnder(byModel, model, pod)
    }
    this.#pools = poolsOf(byModel, isWhole)
    for (const step of STEP_ROLES) {
      this.#stepPools[step] = poolsOf(
        byModel,
        ({ role = 'mixed', assigned, kvTransfer = DEFAULT_TRANSFER, rank }) =>
          takesStep({ role, assigned }, step) && (step !== 'prefill' || canHandOver(kvTransfer, rank)),
      )
    }
    this.#all = toPool(pods.map(pod => slotOf(pod.ref)))
    this.#bySlot = bySlot
    this.#limits = limitsOf(pods)
    this.#limited = pods.some(pod => pod.maxInflight > 0)
    this.#version = version
  }

  bySlot(slot: number): PodInfo | undefined {
    return this.#bySlot[slot]
  }

  /** The version that brought the slot's present pod: a pool of an earlier one means the pod before it. */
  since(slot: number): number {
    return this.#since[slot] ?? 0
  }

  /** The pod, if it is still the one of that generation. */
  byRef(ref: PodRef): PodInfo | undefined {
    const pod = this.#bySlot[slotOf(ref)]
    return pod?.ref === ref ? pod : undefined
  }

  /** Whether the slot's pod serves whole requests. A request that goes on from a response has a pool of one that may not. */
  servesWhole(slot: number): boolean {
    const pod = this.#bySlot[slot]
    return pod !== undefined && isWhole(pod)
  }

  /** Pods that serve whole requests of the model (perhaps none of those that have it); undefined if no pod has it. */
  pool(model: string): Pool | undefined {
    return this.#pools.get(model)
  }

  /** Pods that take a step of the model's requests. */
  stepPool(model: string, step: StepRole): Pool {
    return this.#stepPools[step].get(model) ?? emptyPool
  }

  /** Most requests in flight by slot (Infinity: no limit); null where no pod has a limit. */
  get limits(): Float64Array | null {
    return this.#limited ? this.#limits : null
  }

  get all(): Pool {
    return this.#all
  }

  get models(): readonly string[] {
    return [...this.#pools.keys()]
  }
}

const isWhole = ({ role = 'mixed', assigned, kvTransfer = DEFAULT_TRANSFER }: PodInfo): boolean =>
  servesWhole({ role, assigned }, kvTransfer.connector)

function groupUnder(groups: Map<string, PodInfo[]>, model: string, pod: PodInfo): void {
  const group = groups.get(model)
  if (group === undefined) groups.set(model, [pod])
  else group.push(pod)
}

function poolsOf(byModel: ReadonlyMap<string, readonly PodInfo[]>, takes: (pod: PodInfo) => boolean) {
  const pools = [...byModel].map(([model, pods]): [string, Pool] => [
    model,
    toPool(pods.filter(takes).map(({ ref }) => slotOf(ref))),
  ])
  return new Map(pools)
}

function limitsOf(pods: readonly PodInfo[]): Float64Array {
  const limits = new Float64Array(MAX_SLOTS).fill(Number.POSITIVE_INFINITY)
  for (const pod of pods) if (pod.maxInflight > 0) limits[slotOf(pod.ref)] = pod.maxInflight
  return limits
}

function toPool(slots: readonly number[]): Pool {
  return { slots: Uint16Array.from(slots).sort(), length: slots.length }
}
