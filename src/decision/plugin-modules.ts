/**
 * Plugins from users' own modules, named under `plugins:` in the configuration. Each thread loads them for itself; a
 * module is loaded once a thread, and what it exports counts as if it were built in.
 */
import { createRequire } from 'node:module'
import { isFactory } from './factories.js'
import type { AnyFactory } from './plugin.js'
import { plugins } from './registry.js'

/**
 * Synchronous, which Node can do with ES modules since 20.19, so that the check of a configuration need not become
 * asynchronous for it. TypeScript is taken as it is by the Node versions that strip types (22.18 and newer).
 */
const load = createRequire(import.meta.url)
const loaded = new Set<string>()

/** Registers every plugin that the module exports. Throws an Error that says what is wrong with the module. */
export function loadPluginModule(file: string): void {
  if (loaded.has(file)) return
  const exported: unknown = load(file)
  const found = new Set<AnyFactory>([exported, ...Object.values(Object(exported))].filter(isFactory))
  if (found.size === 0) {
    throw new Error(
      'it exports no plugin; export what scorer(), filter(), picker() or preparer() of phyllo gives',
    )
  }
  const workflow = [...found].find(({ stage }) => stage === 'execute')
  if (workflow !== undefined) {
    throw new Error(
      `'${workflow.pluginName}' is a workflow; modules may add prepare, filter, score and pick plugins`,
    )
  }
  // On a copy first: of a module that is refused, nothing stays behind.
  const trial = plugins.copy()
  for (const factory of found) trial.register(factory)
  for (const factory of found) plugins.register(factory)
  loaded.add(file)
}
