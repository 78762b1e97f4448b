/** Users' plugin modules: paths made absolute, and each loaded, so that the profiles below can be judged. */
import { resolve } from 'node:path'
import { loadPluginModule } from '../decision/plugin-modules.js'
import { type Finding, show } from '../yaml/wording.js'

/** Loads what `plugins` in the file's data names. What is no list of paths is left to the schema to refuse. */
export function loadPluginFiles(data: unknown, baseDir: string): Finding[] {
  return pluginPaths(data).flatMap((file, index): Finding[] => {
    try {
      loadPluginModule(resolve(baseDir, file))
      return []
    } catch (error) {
      const why = error instanceof Error ? error.message.split('\n')[0] : String(error)
      return [
        { path: ['plugins', index], at: 'value', message: `cannot use the module ${show(file)}: ${why}` },
      ]
    }
  })
}

function pluginPaths(data: unknown): readonly string[] {
  if (typeof data !== 'object' || data === null || !('plugins' in data)) return []
  const { plugins } = data
  return Array.isArray(plugins) ? plugins.filter(path => typeof path === 'string') : []
}
