/** All plugins by stage and name: what YAML can name, what docs list, what error messages suggest. */
import type {
  AnyFactory,
  ExecuteFactory,
  FilterFactory,
  PickFactory,
  PrepareFactory,
  ScoreFactory,
  Stage,
} from './plugin.js'
import { STAGES } from './plugin.js'
import { builtinPlugins } from './plugins/index.js'
import type { AnySlot } from './slot.js'

type ByName<Factory> = ReadonlyMap<string, Factory>

export class PluginRegistry {
  readonly #prepare = new Map<string, PrepareFactory>()
  readonly #filter = new Map<string, FilterFactory>()
  readonly #score = new Map<string, ScoreFactory>()
  readonly #pick = new Map<string, PickFactory>()
  readonly #execute = new Map<string, ExecuteFactory>()

  constructor(factories: readonly AnyFactory[] = []) {
    for (const factory of factories) this.register(factory)
  }

  get prepare(): ByName<PrepareFactory> {
    return this.#prepare
  }
  get filter(): ByName<FilterFactory> {
    return this.#filter
  }
  get score(): ByName<ScoreFactory> {
    return this.#score
  }
  get pick(): ByName<PickFactory> {
    return this.#pick
  }
  get execute(): ByName<ExecuteFactory> {
    return this.#execute
  }

  /** Adds a plugin. Throws if its stage has one of that name already: replacing one silently would change profiles. */
  register(factory: AnyFactory): void {
    if (this[factory.stage].has(factory.pluginName)) {
      throw new Error(`there is a ${factory.stage} plugin '${factory.pluginName}' already`)
    }
    switch (factory.stage) {
      case 'prepare':
        this.#prepare.set(factory.pluginName, factory)
        break
      case 'filter':
        this.#filter.set(factory.pluginName, factory)
        break
      case 'score':
        this.#score.set(factory.pluginName, factory)
        break
      case 'pick':
        this.#pick.set(factory.pluginName, factory)
        break
      case 'execute':
        this.#execute.set(factory.pluginName, factory)
        break
    }
  }

  /** Another registry with the same plugins. */
  copy(): PluginRegistry {
    return new PluginRegistry(STAGES.flatMap((stage): AnyFactory[] => [...this[stage].values()]))
  }

  /** Names of a stage's plugins, in alphabetical order. */
  names(stage: Stage): readonly string[] {
    return [...this[stage].keys()].sort()
  }

  /** The stages that have a plugin of that name. */
  stagesOf(name: string): readonly Stage[] {
    return STAGES.filter(stage => this[stage].has(name))
  }

  /** Names of the Prepare plugins that write a slot. */
  suppliersOf(slot: AnySlot): readonly string[] {
    return [...this.#prepare.values()].filter(({ writes }) => writes.includes(slot)).map(f => f.pluginName)
  }
}

/** The process's registry: the built-in plugins and what users add. Each worker thread has its own copy. */
export const plugins = new PluginRegistry(builtinPlugins)

/** Makes a user's plugin known to YAML. Throws if the name is taken. */
export function registerPlugin(factory: AnyFactory): void {
  plugins.register(factory)
}
