/**
 * The models that the fleet serves, on the control plane: from the configuration and from the pods' own lists. Each
 * name gets one native model (tokenizer, template, hash root). Configured ones are loaded at the start, all at once; one
 * that is first heard of from a pod serves at once, matched by text, until its files have been loaded beside that.
 */
import type { ModelEntry } from '../data/health.js'
import type { ModelOptions, SharedState } from '../data/native.js'
import type { Pod } from '../data/pod-registry.js'
import { type Logger, saidOnce } from '../telemetry/log.js'
import { type ChainModel, ModelChains } from './model-chains.js'
import type { RouterOptions, ServedModelOptions } from './options.js'
import type { WorkerModel } from './protocol.js'

/** Tokens in a block where nothing says otherwise: vLLM's default on GPUs. */
const DEFAULT_BLOCK_SIZE = 16
/** The configured name that stands for every model without an entry of its own. */
export const ANY_MODEL = '*'

export class ModelTable {
  readonly #known = new Map<string, WorkerModel>()
  readonly #entries = new Map<string, ModelEntry>()
  /** Names that are another model's as well, by which its pods list it too, and that model's name. */
  readonly #owners: Map<string, string>
  readonly #chains: ModelChains
  readonly #once = saidOnce()

  constructor(
    private readonly state: SharedState,
    private readonly options: Pick<RouterOptions, 'models' | 'defaults' | 'cache'>,
    private readonly log: Logger,
  ) {
    this.#owners = new Map(options.models.flatMap(({ name, aliases }) => aliases.map(alias => [alias, name])))
    this.#chains = new ModelChains(
      state,
      name => this.#chainModel(name),
      ({ id, variant }) => {
        if (this.#once(`variant ${id}`))
          log.warn(
            `pod ${id}: its variant '${variant}' is not among models:, so its prompts are as its model's`,
          )
      },
    )
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
    const owner = this.nameOf(name)
    if (owner !== name) return this.#share(name, owner)
    const options = this.#optionsOf(name)
    if (options?.dir === undefined) {
      this.#enter(name, this.state.addModel(name, this.#nativeOptions(options)))
      return
    }
    const id = this.state.addModel(name, { blockSize: options.blockSize })
    this.#known.set(name, this.#workerModel(name, id))
    void this.#loadLater({ ...options, name }, id)
  }

  /** A pod told what it serves. Names of the same files (vLLM's `root`) are names of one model. */
  heard(entries: readonly ModelEntry[]): void {
    const byRoot = new Map<string, string>()
    for (const entry of entries) {
      const root = rootOf(entry)
      const first = root === undefined ? undefined : byRoot.get(root)
      if (root !== undefined && first === undefined) byRoot.set(root, entry.id)
      if (first !== undefined && !this.#isNamed(entry.id)) this.#owners.set(entry.id, this.nameOf(first))
      this.learn(entry.id)
      this.#entries.set(entry.id, entry)
    }
  }

  /** The name under which a model's blocks are known: its own, or of several names of one model the first. */
  nameOf(name: string): string {
    return this.#owners.get(name) ?? name
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
      for (const alias of aliases) if (!served.has(alias)) data.push({ ...entry, id: alias, root: name })
    }
    const entries = Object.fromEntries(data.map(entry => [entry.id, JSON.stringify(entry)]))
    return { list: JSON.stringify({ object: 'list', data }), entries }
  }

  #chainModel(name: string): ChainModel | undefined {
    const id = this.#known.get(name)?.id
    if (id === undefined) return undefined
    return { id, blockSize: blockSizeOf(this.#optionsOf(this.nameOf(name))) }
  }

  /** Known, or configured as a model of its own. */
  #isNamed(name: string): boolean {
    return this.#known.has(name) || this.options.models.some(model => model.name === name)
  }

  /** A name of a model that has another: its files and blocks are that one's. */
  #share(name: string, owner: string): void {
    this.learn(owner)
    const model = this.#known.get(owner)
    if (model !== undefined) this.#known.set(name, { ...model, name, aliases: [] })
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

/** What an engine says that a model is loaded from; undefined for an adapter, and where it does not say. */
function rootOf({ root, parent }: ModelEntry): string | undefined {
  return typeof root === 'string' && root !== '' && (parent ?? null) === null ? root : undefined
}

const plainEntry = (id: string): ModelEntry => ({ id, object: 'model', created: 0, owned_by: 'phyllo' })
