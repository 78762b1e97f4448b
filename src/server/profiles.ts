/** The profiles that a router offers: the shipped ones and the configured ones, which may replace them. */
import { profileFromConfig } from '../decision/from-config.js'
import { loadPluginModule } from '../decision/plugin-modules.js'
import type { Profile } from '../decision/profile.js'
import { shippedProfiles } from '../decision/profiles/index.js'
import { type PluginRegistry, plugins } from '../decision/registry.js'
import { executors } from '../execution/workflows/registry.js'
import { single } from '../execution/workflows/single.js'
import type { RouterOptions } from './options.js'

/** All plugins that a profile can name: the process's registry, and the workflows in case nobody has added them yet. */
export function knownPlugins(): PluginRegistry {
  const all = plugins.copy()
  for (const workflow of executors) if (!all.execute.has(workflow.pluginName)) all.register(workflow)
  return all
}

/** Throws with every issue; `phyllo check` and the loading of a config file have found them before. */
export function resolveProfiles(
  options: Pick<RouterOptions, 'plugins' | 'profiles'>,
): ReadonlyMap<string, Profile> {
  for (const file of options.plugins) loadPluginModule(file)
  const registry = knownPlugins()
  const all = new Map(shippedProfiles(single()).map(profile => [profile.name, profile]))
  for (const [name, data] of Object.entries(options.profiles)) {
    const result = profileFromConfig(name, data, registry)
    if (!result.ok) {
      const lines = result.issues.map(
        issue => `profiles.${[name, ...issue.path].join('.')}: ${issue.message}`,
      )
      throw new Error(lines.join('\n'))
    }
    all.set(name, result.profile)
  }
  return all
}
