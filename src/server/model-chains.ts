/**
 * Which block chains each model's requests are hashed to: one for each distinct pair of variant (whose files the pods
 * run) and block size among the pods that serve the model. Pods of a rollout, or of different page sizes, are thereby
 * all matched by what they really cache, and a fleet that is all alike pays for one chain.
 */
import { CACHE, CACHE_WORDS, type SharedState } from '../data/native.js'
import type { Pod } from '../data/pod-registry.js'
import { runsOtherFiles } from '../data/pod-view.js'

/** What the model table knows of a model by name. */
export interface ChainModel {
  /** The native core's number. */
  readonly id: number
  /** Tokens in a block as configured, for pods that do not say. */
  readonly blockSize: number
}

/** A kind of chain: whose files, and tokens in a block (0: no pod of the kind says). */
interface Kind {
  readonly model: ChainModel
  readonly blockSize: number
  pods: number
}

export class ModelChains {
  readonly #status = new Float64Array(CACHE_WORDS)
  /** What was last set, by the native model. */
  readonly #set = new Map<number, string>()

  constructor(
    private readonly state: Pick<SharedState, 'cacheStatus' | 'setChains' | 'setPodCache'>,
    private readonly find: (name: string) => ChainModel | undefined,
    /** A pod's variant is no known model, so that it is taken to run its model's own files. */
    private readonly onUnknownVariant: (pod: Pod) => void,
  ) {}

  /** Brings the chains up to the pods as they are now; true if any model's changed. */
  refresh(pods: readonly Pod[]): boolean {
    // By the native model, which may have several names.
    const byModel = new Map<number, { model: ChainModel; serving: Set<Pod> }>()
    for (const pod of pods) {
      this.#tellVariant(pod)
      for (const name of pod.models) {
        const model = this.find(name)
        if (model === undefined) continue
        const known = byModel.get(model.id)
        if (known === undefined) byModel.set(model.id, { model, serving: new Set([pod]) })
        else known.serving.add(pod)
      }
    }
    let changed = false
    for (const { model, serving } of byModel.values()) changed = this.#setChains(model, serving) || changed
    return changed
  }

  /** Again each time: it costs less than remembering which pods were told. */
  #tellVariant(pod: Pod): void {
    const variant = this.#variantOf(pod)
    if (variant !== undefined) this.state.setPodCache(pod.ref, 0, 0, variant.id)
  }

  /** Undefined where the pod runs the served models' own files. */
  #variantOf(pod: Pod): ChainModel | undefined {
    const [base] = pod.models
    if (base === undefined || pod.variant === undefined || !runsOtherFiles(pod)) return undefined
    const variant = this.find(pod.variant)
    if (variant === undefined) this.onUnknownVariant(pod)
    return variant?.id === this.find(base)?.id ? undefined : variant
  }

  #setChains(model: ChainModel, pods: ReadonlySet<Pod>): boolean {
    const pairs = chainPairs(model, this.#kindsOf(model, pods))
    const key = pairs.join()
    if (this.#set.get(model.id) === key) return false
    this.#set.set(model.id, key)
    this.state.setChains(model.id, pairs)
    return true
  }

  #kindsOf(model: ChainModel, pods: ReadonlySet<Pod>): Kind[] {
    const kinds = new Map<string, Kind>()
    for (const pod of pods) {
      const whose = this.#variantOf(pod) ?? model
      const blockSize = this.#blockSizeOf(pod)
      const key = `${whose.id}/${blockSize}`
      const kind = kinds.get(key)
      if (kind === undefined) kinds.set(key, { model: whose, blockSize, pods: 1 })
      else kind.pods += 1
    }
    return [...kinds.values()]
  }

  /** As the engine's metrics or events say; 0 while they don't. */
  #blockSizeOf(pod: Pod): number {
    const isThere = this.state.cacheStatus(pod.ref, this.#status)
    return isThere ? (this.#status[CACHE.blockSize] ?? 0) : 0
  }
}

/**
 * `[model or variant, block size, …]`, the model's own chains first and of each model's the commonest, since the first
 * that fits is taken for pods that do not say. A pod that does not say is taken for one like its fellows; only where
 * none says, the configured size counts.
 */
export function chainPairs(own: ChainModel, kinds: readonly Kind[]): Uint32Array {
  const said = kinds.filter(kind => kind.blockSize > 0)
  const unsaid = kinds.filter(
    kind => kind.blockSize === 0 && !said.some(({ model }) => model.id === kind.model.id),
  )
  const all = [...said, ...unsaid.map(kind => ({ ...kind, blockSize: kind.model.blockSize }))]
  const rank = ({ model }: Kind): number => (model.id === own.id ? -1 : model.id)
  all.sort((a, b) => rank(a) - rank(b) || b.pods - a.pods || a.blockSize - b.blockSize)
  return Uint32Array.from(all.flatMap(({ model, blockSize }) => [model.id, blockSize]))
}
