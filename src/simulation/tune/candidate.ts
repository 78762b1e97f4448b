/** The profile with other numbers in it. */
import { type PluginConfig, profileFromConfig, profileToConfig } from '../../decision/from-config.js'
import type { Profile } from '../../decision/profile.js'
import type { PluginRegistry } from '../../decision/registry.js'
import type { Knob } from './vary.js'

/**
 * By way of what YAML says, so that what is simulated is what `--out` writes. A value that is NaN (an option that is off)
 * stays off. Null where the plugins refuse the values together, as a least that is over a most.
 */
export function candidate(
  profile: Profile,
  registry: PluginRegistry,
  knobs: readonly Knob[],
  values: readonly number[],
  name: string = profile.name,
): Profile | null {
  const config = profileToConfig(profile)
  const put = (stage: Knob['part']['stage'], index: number, entry: PluginConfig): PluginConfig => {
    const own = knobs.flatMap(({ part, option }, at): [string, number][] => {
      const value = values[at] ?? Number.NaN
      return part.stage === stage && part.index === index && !Number.isNaN(value) ? [[option, value]] : []
    })
    if (own.length === 0) return entry
    const [plugin, given] = typeof entry === 'string' ? [entry, {}] : (Object.entries(entry)[0] ?? ['', {}])
    return { [plugin]: { ...given, ...Object.fromEntries(own) } }
  }
  const list = (stage: 'prepare' | 'filter' | 'score') =>
    (config[stage] ?? []).map((entry, index) => put(stage, index, entry))
  const data = {
    ...config,
    prepare: list('prepare'),
    filter: list('filter'),
    score: list('score'),
    pick: put('pick', 0, config.pick),
  }
  const result = profileFromConfig(name, data, registry)
  return result.ok ? result.profile : null
}
