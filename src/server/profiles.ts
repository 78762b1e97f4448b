/** The profiles that a router offers: the shipped ones and the configured ones, which may replace them. */
import { profileFromConfig } from '../decision/from-config.js'
import { loadPluginModule } from '../decision/plugin-modules.js'
import type { Profile } from '../decision/profile.js'
import { shippedProfiles, stepProfiles } from '../decision/profiles/index.js'
import { type PluginRegistry, plugins } from '../decision/registry.js'
import { preparedFor, type RouteFault } from '../execution/route.js'
import type { DescribedWorkflows } from '../execution/workflows/described/schema.js'
import { executorsWith, workflowFor } from '../execution/workflows/registry.js'
import { single } from '../execution/workflows/single.js'
import type { RouterOptions } from './options.js'

/**
 * All plugins that a profile can name: the process's registry, the workflows in case nobody has added them yet, and those
 * that are configured.
 */
export function knownPlugins(described: DescribedWorkflows = {}): PluginRegistry {
  const all = plugins.copy()
  for (const workflow of executorsWith(described))
    if (!all.execute.has(workflow.pluginName)) all.register(workflow)
  return all
}

/** Throws with every issue; `phyllo check` and the loading of a config file have found them before. */
export function resolveProfiles(
  options: Pick<RouterOptions, 'plugins' | 'profiles' | 'workflows'>,
): ReadonlyMap<string, Profile> {
  for (const file of options.plugins) loadPluginModule(file)
  const { workflows = {} } = options
  const registry = knownPlugins(workflows)
  const all = new Map(builtInProfiles().map(profile => [profile.name, profile]))
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
  const [fault] = routeFaults(all, workflows)
  if (fault !== undefined) throw new Error(`profiles.${fault.profile}: ${fault.message}`)
  return all
}

/** Profiles that are there whatever is configured: those for requests, and those for steps of workflows. */
export const builtInProfiles = (): readonly Profile[] => [
  ...shippedProfiles(single()),
  ...stepProfiles(single()),
]

/** What is wrong with the workflows that profiles name, and with the profiles that these name in turn. */
export function routeFaults(
  profiles: ReadonlyMap<string, Profile>,
  described: DescribedWorkflows = {},
): RouteFault[] {
  return [...profiles.values()].flatMap(profile => {
    try {
      const prepare = preparedFor(profile, workflowFor(profile.execute, described), profiles)
      return 'message' in prepare ? [prepare] : []
    } catch (error) {
      return [{ profile: profile.name, message: error instanceof Error ? error.message : String(error) }]
    }
  })
}
