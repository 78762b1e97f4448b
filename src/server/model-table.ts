/**
 * The models that the fleet serves, on the control plane: from the configuration and from the pods' own lists. Each
 * name gets one native model (tokenizer, template, hash root), loaded when it is first heard of.
 */
import type { ModelEntry } from '../data/health.js'
import type { ModelOptions, SharedState } from '../data/native.js'
import type { Pod } from '../data/pod-registry.js'
import type { ServedModelOptions } from './options.js'
import type { WorkerModel } from './protocol.js'

/** Tokens in a block where nothing says otherwise: vLLM's default on GPUs. */
const DEFAULT_BLOCK_SIZE = 16
/** The configured name that stands for every model without an entry of its own. */
export const ANY_MODEL = '*'

export class ModelTable {
  readonly #known = new Map<string, WorkerModel>()
  readonly #entries = new Map<string, ModelEntry>()

  constructor(
    private readonly state: SharedState,
    private readonly configured: readonly ServedModelOptions[],
    private readonly defaultProfile: string,
    private readonly memoBytes: number,
    private readonly onFallback: (model: string, reason: string) => void,
  ) {
    // What stands for any model is loaded as well, though it serves none: a fault in its files must show at the start,
    // not when a pod first tells a name.
    for (const options of configured) {
      if (options.name === ANY_MODEL) state.addModel(ANY_MODEL, nativeOptions(options, memoBytes))
      else this.learn(options.name)
    }
  }

  get models(): readonly WorkerModel[] {
    return [...this.#known.values()]
  }

  /** Makes sure that a model is known; loads its tokenizer the first time. Throws if that cannot be loaded. */
  learn(name: string): void {
    if (this.#known.has(name)) return
    const options = this.#optionsOf(name)
    const id = this.state.addModel(name, nativeOptions(options, this.memoBytes))
    this.#known.set(name, {
      name,
      id,
      profile: options?.profile ?? this.defaultProfile,
      aliases: options?.name === name ? options.aliases : [],
    })
    const reason = this.state.modelFallback(id)
    if (reason !== null) this.onFallback(name, reason)
  }

  /** A pod told what it serves. */
  heard(entries: readonly ModelEntry[]): void {
    for (const entry of entries) {
      this.learn(entry.id)
      this.#entries.set(entry.id, entry)
    }
  }

  /** The merged model list over the pods, as JSON: a model is listed while any pod serves it, up or down. */
  list(pods: readonly Pod[]): { list: string; entries: Record<string, string> } {
    const served = new Set(pods.flatMap(pod => pod.models))
    const data = [...served].sort().map(id => this.#entries.get(id) ?? plainEntry(id))
    for (const { name, aliases } of this.models) {
      if (!served.has(name)) continue
      const entry = this.#entries.get(name) ?? plainEntry(name)
      for (const alias of aliases) data.push({ ...entry, id: alias, root: name })
    }
    const entries = Object.fromEntries(data.map(entry => [entry.id, JSON.stringify(entry)]))
    return { list: JSON.stringify({ object: 'list', data }), entries }
  }

  #optionsOf(name: string): ServedModelOptions | undefined {
    return (
      this.configured.find(model => model.name === name) ??
      this.configured.find(model => model.name === ANY_MODEL)
    )
  }
}

function nativeOptions(options: ServedModelOptions | undefined, memoBytes: number): ModelOptions {
  const native: ModelOptions = { blockSize: options?.blockSize ?? DEFAULT_BLOCK_SIZE, memoBytes }
  if (options?.dir !== undefined) native.dir = options.dir
  if (options?.chatTemplate !== undefined) native.chatTemplate = options.chatTemplate
  return native
}

const plainEntry = (id: string): ModelEntry => ({ id, object: 'model', created: 0, owned_by: 'phyllo' })
