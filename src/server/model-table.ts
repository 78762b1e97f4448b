/**
 * The models that the fleet serves, on the control plane: from the configuration and from the pods' own lists. Each
 * name gets one native model (tokenizer, template, hash root). Configured ones are loaded at the start, all at once; one
 * that is first heard of from a pod serves at once, matched by text, until its files have been loaded beside that.
 */
import type { ModelEntry } from '../data/health.js'
import type { ModelOptions, SharedState } from '../data/native.js'
import type { Pod } from '../data/pod-registry.js'
import { type Logger, saidOnce } from '../telemetry/log.js'
import { ModelChains } from './model-chains.js'
import type { RouterOptions, ServedModelOptions } from './options.js'
import type { WorkerModel } from './protocol.js'

/** Tokens in a block where nothing says otherwise: vLLM's default on GPUs. */
const DEFAULT_BLOCK_SIZE = 16
/** The configured name that stands for every model without an entry of its own. */
export const ANY_MODEL = '*'

export class ModelTable {
  readonly #known = new Map<string, WorkerModel>()
  readonly #entries = new Map<string, ModelEntry>()
  readonly #chains: ModelChains
  readonly #once = saidOnce()

  constructor(
    private readonly state: SharedState,
    private readonly options: Pick<RouterOptions, 'models' | 'defaults' | 'cache'>,
    private readonly log: Logger,
  ) {
    this.#chains = new ModelChains(state, name => {
      const id = this.#known.get(name)?.id
      return id === undefined ? undefined : { id, blockSize: blockSizeOf(this.#optionsOf(name)) }
    })
  }

  get models(): readonly WorkerModel[] {
    return [...this.#known.values()]
  }

  /** Loads all that is configured, at once. Rejects with the fault of a file: that must show at the start. */
  async load(): Promise<void> {
    const { models } = this.options
    const ids = await Promise.all(
      models.map(model =>
        this.#timed(model, () => this.state.addModelAsync(model.name, this.#nativeOptions(model))),
      ),
    )
    for (const [i, { name }] of models.entries()) {
      // What stands for any model serves none itself.
      if (name !== ANY_MODEL) this.#enter(name, ids[i] ?? -1)
    }
  }

  /** Makes sure that a model is known. Its files, if it has any, are loaded in the background. */
  learn(name: string): void {
    if (this.#known.has(name)) return
    const options = this.#optionsOf(name)
    if (options?.dir === undefined) {
      this.#enter(name, this.state.addModel(name, this.#nativeOptions(options)))
      return
    }
    const id = this.state.addModel(name, { blockSize: options.blockSize })
    this.#known.set(name, this.#workerModel(name, id))
    void this.#loadLater({ ...options, name }, id)
  }

  /** A pod told what it serves. */
  heard(entries: readonly ModelEntry[]): void {
    for (const entry of entries) {
      this.learn(entry.id)
      this.#entries.set(entry.id, entry)
    }
  }

  /**
   * Brings the block chains that requests are hashed to up to these pods' variants and block sizes; to be called when
   * the fleet or a pod's block size has changed. True if a model's chains changed.
   */
  refreshChains(pods: readonly Pod[]): boolean {
    return this.#chains.refresh(pods)
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

  async #loadLater(model: ServedModelOptions, id: number): Promise<void> {
    try {
      await this.#timed(model, () => this.state.loadModel(id, this.#nativeOptions(model)))
      this.#sayFallback(model.name, id)
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      this.log.error(
        `model ${model.name}: its prompts are matched by text, for its files do not load: ${why}`,
      )
    }
  }

  /** Says how long it took to load a model's files, if it has any. */
  async #timed<T>({ name, dir }: ServedModelOptions, load: () => Promise<T>): Promise<T> {
    if (dir === undefined) return load()
    this.log.info(`model ${name}: loading its tokenizer from ${dir}`)
    const start = performance.now()
    const loaded = await load()
    this.log.info(`model ${name}: tokenizer loaded in ${((performance.now() - start) / 1000).toFixed(1)} s`)
    return loaded
  }

  #enter(name: string, id: number): void {
    this.#known.set(name, this.#workerModel(name, id))
    this.#sayFallback(name, id)
  }

  #sayFallback(name: string, id: number): void {
    const reason = this.state.modelFallback(id)
    if (reason !== null && this.#once(`fallback ${name}`)) this.log.warn(`model '${name}' ${reason}`)
  }

  #workerModel(name: string, id: number): WorkerModel {
    const options = this.#optionsOf(name)
    return {
      name,
      id,
      profile: options?.profile ?? this.options.defaults.profile,
      aliases: options?.name === name ? options.aliases : [],
      fallbacks: options?.name === name ? options.fallbacks : undefined,
      forwardTokens: options?.forwardTokens ?? false,
    }
  }

  #optionsOf(name: string): ServedModelOptions | undefined {
    const { models } = this.options
    return models.find(model => model.name === name) ?? models.find(model => model.name === ANY_MODEL)
  }

  #nativeOptions(options: ServedModelOptions | undefined): ModelOptions {
    const memoBytes = this.options.cache.tokenizerMemoBytes
    const native: ModelOptions = { blockSize: blockSizeOf(options), memoBytes }
    if (options?.dir !== undefined) native.dir = options.dir
    if (options?.chatTemplate !== undefined) native.chatTemplate = options.chatTemplate
    return native
  }
}

const blockSizeOf = (options: ServedModelOptions | undefined): number =>
  options?.blockSize ?? DEFAULT_BLOCK_SIZE

const plainEntry = (id: string): ModelEntry => ({ id, object: 'model', created: 0, owned_by: 'phyllo' })
